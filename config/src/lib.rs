//! Text, environment and flags joined into one validated configuration.
