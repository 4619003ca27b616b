//! A policy directory as written: every value with its place, every fault collected and none hidden.
