//! What a gateway is told to do, made ready to be done.
