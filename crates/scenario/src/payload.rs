//! Payload that tells where it came from.
//!
//! A direction of a connection carries one [`Stream`] per sending lane. Its bytes are the little-endian
//! words `scramble(key ^ (stream, index))`, where `scramble` is a bijection on 64 bits: a whole word gives its
//! stream and index back, with no search. A shorter or unaligned piece is compared with where it is
//! expected, or looked for (see [`find`]).

use serde::{Deserialize, Serialize};

/// Bytes in one word of payload.
const WORD: u64 = 8;

/// The secret that a campaign's payload is made with; from its seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key(u64);

impl Key {
    /// The key of a campaign with this seed.
    ///
    /// A word of zeroes, as a kernel that forgets to copy would deliver, decodes to the key itself: the seed is
    /// scrambled so that this is no plausible stream.
    #[must_use]
    pub fn from_seed(seed: u64) -> Key {
        Key(scramble(seed ^ 0x7370_6172_7269_6e67))
    }
}

/// Which stream of bytes: the run it belongs to, the pair within the run, the lane that sends it.
///
/// A lane is on one endpoint, so it also gives the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stream {
    /// The run within one boot (wraps).
    pub run: u16,
    /// The pair within the scenario.
    pub pair: u8,
    /// The sending lane: index into [`crate::Scenario::lanes`].
    pub lane: u8,
}

/// A piece of received data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Run {
    /// `len` bytes of a stream, from `offset` on.
    Coded {
        /// Whose bytes they are.
        stream: Stream,
        /// Where in the stream they start, in bytes.
        offset: u64,
        /// How many bytes.
        len: u32,
    },
    /// Bytes that were not where they were expected and could not be told on the spot.
    Raw(Vec<u8>),
}

impl Run {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Run::Coded { len, .. } => *len as usize,
            Run::Raw(bytes) => bytes.len(),
        }
    }

    /// Whether it holds no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The finalizer of `splitmix64`, a bijection (G. Steele et al., "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The inverse of [`scramble`]: the multipliers are the inverses modulo 2^64.
fn unscramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 31) ^ (x >> 62)).wrapping_mul(0x3196_42b2_d24d_8ec3);
    x = (x ^ (x >> 27) ^ (x >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
    x ^ (x >> 30) ^ (x >> 60)
}

impl Stream {
    fn pack(self) -> u64 {
        u64::from(self.run) << 48 | u64::from(self.pair) << 40 | u64::from(self.lane) << 32
    }

    fn unpack(packed: u64) -> (Stream, u64) {
        let [lane, pair, low, high] = {
            let bytes = packed.to_le_bytes();
            [bytes[4], bytes[5], bytes[6], bytes[7]]
        };
        let stream = Stream { run: u16::from_le_bytes([low, high]), pair, lane };
        (stream, packed & 0xffff_ffff)
    }
}

fn word(key: Key, stream: Stream, index: u64) -> [u8; 8] {
    scramble(key.0 ^ (stream.pack() | (index & 0xffff_ffff))).to_le_bytes()
}

/// Fills `buffer` with the bytes of `stream` from byte `offset` on.
pub fn fill(key: Key, stream: Stream, offset: u64, buffer: &mut [u8]) {
    let mut index = offset / WORD;
    let skip = (offset % WORD) as usize;
    let (head, body) = if skip == 0 {
        buffer.split_at_mut(0)
    } else {
        let cut = buffer.len().min(8 - skip);
        buffer.split_at_mut(cut)
    };
    if !head.is_empty() {
        head.copy_from_slice(&word(key, stream, index)[skip..skip + head.len()]);
        index += 1;
    }
    let mut words = body.chunks_exact_mut(8);
    for chunk in &mut words {
        chunk.copy_from_slice(&word(key, stream, index));
        index += 1;
    }
    let tail = words.into_remainder();
    let last = word(key, stream, index);
    tail.copy_from_slice(&last[..tail.len()]);
}

/// How many bytes of `buffer`, from its start, are those of `stream` from `offset` on.
#[must_use]
pub fn matching(key: Key, stream: Stream, offset: u64, buffer: &[u8]) -> usize {
    let mut expected = [0; 512];
    let mut done = 0;
    while done < buffer.len() {
        let here = &buffer[done..buffer.len().min(done + expected.len())];
        let expected = &mut expected[..here.len()];
        fill(key, stream, offset + done as u64, expected);
        if here != expected {
            return done + here.iter().zip(expected).take_while(|(a, b)| a == b).count();
        }
        done += here.len();
    }
    done
}

/// Tells where the bytes of `buffer` come from.
///
/// `expected` is where they most likely continue, one place for each stream, the likeliest first; a wrong guess costs
/// time, not truth. `plausible` says whether a stream and offset could exist at all: any 64 bits decode to
/// *something*.
pub fn decode(
    key: Key,
    buffer: &[u8],
    expected: &[(Stream, u64)],
    plausible: impl Fn(Stream, u64) -> bool,
) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut places = expected.to_vec();
    let mut rest = buffer;
    while !rest.is_empty() {
        let (source, len) = match continued(key, &places, rest) {
            Some((at, len)) => (Some(at), len),
            None => locate(key, rest, &plausible),
        };
        let (piece, after) = rest.split_at(len);
        push(&mut runs, source, piece);
        if let Some((stream, offset)) = source {
            places.retain(|(known, _)| *known != stream);
            places.insert(0, (stream, offset + len as u64));
        }
        rest = after;
    }
    runs
}

/// Which of the places goes on with the most bytes of `buffer`, and with how many. The first one need not be the best,
/// only good for a whole word: fewer bytes may agree by chance.
fn continued(key: Key, places: &[(Stream, u64)], buffer: &[u8]) -> Option<((Stream, u64), usize)> {
    let mut best = None;
    for &(stream, offset) in places {
        let len = matching(key, stream, offset, buffer);
        if len as u64 >= WORD {
            return Some(((stream, offset), len));
        }
        if len > best.map_or(0, |(_, most)| most) {
            best = Some(((stream, offset), len));
        }
    }
    best
}

/// Finds the first word of `buffer` that decodes. Gives the source of a prefix, or the length of a prefix
/// that has none.
fn locate(
    key: Key,
    buffer: &[u8],
    plausible: &impl Fn(Stream, u64) -> bool,
) -> (Option<(Stream, u64)>, usize) {
    for (at, window) in buffer.windows(8).enumerate() {
        let Ok(bytes) = <[u8; 8]>::try_from(window) else {
            continue;
        };
        let (stream, index) = Stream::unpack(unscramble(u64::from_le_bytes(bytes)) ^ key.0);
        let offset = index * WORD;
        if !plausible(stream, offset) {
            continue;
        }
        // the bytes before the word may be the end of the word before it
        let back = (1..=at.min(7))
            .rev()
            .find(|&b| {
                offset >= b as u64
                    && matching(key, stream, offset - b as u64, &buffer[at - b..at]) == b
            })
            .unwrap_or(0);
        if at > back {
            return (None, at - back);
        }
        let start = offset - back as u64;
        return (Some((stream, start)), matching(key, stream, start, buffer));
    }
    (None, buffer.len())
}

fn push(runs: &mut Vec<Run>, source: Option<(Stream, u64)>, piece: &[u8]) {
    #[expect(clippy::cast_possible_truncation, reason = "a buffer is far below 4 GiB, see limits")]
    let len = piece.len() as u32;
    match (source, runs.last_mut()) {
        (None, Some(Run::Raw(bytes))) => bytes.extend_from_slice(piece),
        (None, _) => runs.push(Run::Raw(piece.to_vec())),
        (Some((stream, offset)), _) => runs.push(Run::Coded { stream, offset, len }),
    }
}

/// Every offset below `end` at which `stream` holds `piece`; for pieces too short to [`decode`].
#[must_use]
pub fn find(key: Key, stream: Stream, end: u64, piece: &[u8]) -> Vec<u64> {
    let Ok(end) = usize::try_from(end) else {
        return Vec::new();
    };
    if piece.is_empty() || piece.len() > end {
        return Vec::new();
    }
    let mut all = vec![0; end];
    fill(key, stream, 0, &mut all);
    all.windows(piece.len())
        .enumerate()
        .filter(|(_, window)| *window == piece)
        .map(|(at, _)| at as u64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> Key {
        Key::from_seed(1)
    }

    const STREAM: Stream = Stream { run: 7, pair: 0, lane: 1 };

    fn sane(stream: Stream, offset: u64) -> bool {
        stream.pair == 0 && stream.lane < 4 && offset < 1 << 22
    }

    fn bytes(stream: Stream, offset: u64, len: usize) -> Vec<u8> {
        let mut buffer = vec![0; len];
        fill(key(), stream, offset, &mut buffer);
        buffer
    }

    proptest! {
        #[test]
        fn unscramble_inverts_scramble(x: u64) {
            prop_assert_eq!(unscramble(scramble(x)), x);
        }

        #[test]
        fn filling_in_pieces_equals_filling_at_once(offset in 0u64..100_000, len in 0usize..2_000, cut in 0usize..2_000) {
            let cut = cut.min(len);
            let mut whole = bytes(STREAM, offset, cut);
            whole.extend(bytes(STREAM, offset + cut as u64, len - cut));
            prop_assert_eq!(whole, bytes(STREAM, offset, len));
        }

        #[test]
        fn fifteen_bytes_from_anywhere_decode_without_a_hint(offset in 0u64..1_000_000, len in 15usize..300) {
            let runs = decode(key(), &bytes(STREAM, offset, len), &[], sane);
            #[allow(clippy::cast_possible_truncation)]
            let len = len as u32;
            prop_assert_eq!(runs, vec![Run::Coded { stream: STREAM, offset, len }]);
        }

        #[test]
        fn eight_bytes_from_anywhere_are_found_once(offset in 0u64..50_000) {
            prop_assert_eq!(find(key(), STREAM, 60_000, &bytes(STREAM, offset, 8)), vec![offset]);
        }
    }

    #[test_log::test]
    fn a_skip_becomes_two_runs() {
        let mut buffer = bytes(STREAM, 0, 100);
        buffer.extend(bytes(STREAM, 164, 36));
        assert_eq!(
            decode(key(), &buffer, &[(STREAM, 0)], sane),
            vec![
                Run::Coded { stream: STREAM, offset: 0, len: 100 },
                Run::Coded { stream: STREAM, offset: 164, len: 36 },
            ]
        );
    }

    #[test_log::test]
    fn another_connections_bytes_are_told_apart() {
        let earlier = Stream { run: 6, ..STREAM };
        assert_eq!(
            decode(key(), &bytes(earlier, 8, 40), &[(STREAM, 0)], sane),
            vec![Run::Coded { stream: earlier, offset: 8, len: 40 }]
        );
    }

    #[test_log::test]
    fn what_decodes_to_nothing_stays_raw() {
        assert_eq!(decode(key(), &[0; 40], &[(STREAM, 0)], sane), vec![Run::Raw(vec![0; 40])]);
        assert_eq!(decode(key(), &[], &[], sane), vec![]);
    }

    #[test_log::test]
    fn a_corrupt_byte_is_isolated() {
        let mut buffer = bytes(STREAM, 0, 64);
        buffer[20] ^= 0xff;
        let runs = decode(key(), &buffer, &[(STREAM, 0)], sane);
        assert_eq!(runs[0], Run::Coded { stream: STREAM, offset: 0, len: 20 });
        assert_eq!(runs[1].len(), 1, "{runs:?}");
        assert_eq!(runs[2], Run::Coded { stream: STREAM, offset: 21, len: 43 });
    }
}
