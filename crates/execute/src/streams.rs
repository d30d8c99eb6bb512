//! What the streams of a scenario hold, as far as this thread has needed it.

use scenario::payload::{self, Key, Stream};

/// Payload from the start of each stream. Making it takes most of the time that an executor has for itself: a thread
/// that receives what it sent needs it twice, and one whose send was short even more often.
#[derive(Debug, Default)]
pub(crate) struct Streams(Vec<(Stream, Vec<u8>)>);

impl Streams {
    /// `len` bytes of the stream from `offset` on. The key must always be the same.
    pub(crate) fn bytes(&mut self, key: Key, (stream, offset): (Stream, u64), len: usize) -> &[u8] {
        let Ok(start) = usize::try_from(offset) else { unreachable!("beyond what is sent") };
        let end = start + len;
        let at = self.0.iter().position(|(known, _)| *known == stream).unwrap_or_else(|| {
            self.0.push((stream, Vec::new()));
            self.0.len() - 1
        });
        let known = &mut self.0[at].1;
        let length = known.len();
        if length < end {
            known.resize(end, 0);
            payload::fill(key, stream, length as u64, &mut known[length..]);
        }
        &known[start..end]
    }

    /// The scenario is over: no other one has its streams.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn what_is_asked_for_in_any_order_is_the_payload() {
        let key = Key::from_seed(1);
        let mut streams = Streams::default();
        for (lane, offset, len) in [(0, 5, 10), (0, 0, 3), (1, 0, 100), (0, 14, 3), (1, 7, 0)] {
            let stream = Stream { run: 1, pair: 0, lane };
            let mut expected = vec![0; len];
            payload::fill(key, stream, offset, &mut expected);
            assert_eq!(streams.bytes(key, (stream, offset), len), expected);
        }
        streams.forget();
        assert!(streams.0.is_empty());
    }
}
