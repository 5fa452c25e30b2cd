//! The metrics as text.
