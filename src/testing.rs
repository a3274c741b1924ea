//! Helpers that tests share: isolated processes, real BIRDs, sample settings and states.

pub(crate) mod isolated;
pub(crate) mod real_bird;
pub(crate) mod sample;
