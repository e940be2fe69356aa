//! Micro-benchmarks, the machine's floor, and side-by-side runs.
