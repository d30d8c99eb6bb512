//! For each rule a history that it allows and one that breaks exactly it; and an ideal TCP that breaks none.

mod breadth;
mod calls;
mod concurrent;
mod differential;
mod ideal;
mod lanes;
mod pairing;
mod readiness;
mod story;
mod stream;
mod teardown;
mod world;
