//! The only unsafe room: batched datagram calls and socket options that no crate offers without one.
