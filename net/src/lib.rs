//! Frames, messages, handshake and connections of the binary protocol.
