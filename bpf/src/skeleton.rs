//! What libbpf-cargo makes of the C sources.

#[allow(
    missing_docs,
    unused_qualifications,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "generated"
)]
pub(crate) mod pair {
    include!(concat!(env!("OUT_DIR"), "/pair.skel.rs"));
}

#[allow(
    missing_docs,
    unused_qualifications,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "generated"
)]
pub(crate) mod sockhash {
    include!(concat!(env!("OUT_DIR"), "/sockhash.skel.rs"));
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use libbpf_rs::skel::SkelBuilder as _;
    use libbpf_rs::{MapType, ProgramType};

    use super::*;
    use crate::layout;

    #[test_log::test]
    fn pair_has_its_program_and_maps() {
        let mut object = MaybeUninit::uninit();
        let open = pair::PairSkelBuilder::default().open(&mut object).unwrap();
        assert_eq!(open.progs.pair.prog_type(), ProgramType::SockOps);
        assert_eq!(open.maps.endpoints.map_type(), MapType::Sockhash);
        assert_eq!(open.maps.results.map_type(), MapType::LruHash);
        assert_eq!(open.maps.results.key_size() as usize, layout::KEY_BYTES);
        assert_eq!(open.maps.results.value_size() as usize, layout::RESULT_BYTES);
        assert_eq!(open.maps.attempts.value_size() as usize, layout::ATTEMPT_BYTES);
        assert_eq!(open.maps.rodata_data.map(|data| data.busy_poll_us), Some(0));
    }

    #[test_log::test]
    fn sockhash_has_its_program_and_maps() {
        let mut object = MaybeUninit::uninit();
        let open = sockhash::SockhashSkelBuilder::default().open(&mut object).unwrap();
        assert_eq!(open.progs.sockhash.prog_type(), ProgramType::SockOps);
        assert_eq!(open.maps.endpoints.key_size() as usize, layout::KEY_BYTES);
        assert_eq!(open.maps.results.key_size() as usize, layout::KEY_BYTES);
        assert_eq!(open.maps.results.value_size() as usize, layout::RESULT_BYTES);
    }
}
