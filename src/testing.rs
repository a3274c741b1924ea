//! What tests share: networks of their own, a real BIRD, samples of settings and states.

pub(crate) mod isolated;
pub(crate) mod real_bird;
pub(crate) mod sample;
