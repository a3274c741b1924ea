//! The conversation with BIRD: over its control socket or through `birdc`, and what its answers
//! mean.

pub mod birdc;
pub mod connection;
pub mod control;
pub mod exports;
pub mod framing;
pub mod outcome;
pub mod query;
