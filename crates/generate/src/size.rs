//! Lengths of sends and receives, with the boundaries favoured.

use crate::draw::Draw;
use crate::model::Flow;

/// Longest send or receive that is drawn for a ring of that size, in bytes.
pub(crate) fn most(ring: u32) -> u32 {
    (2 * ring + 4096).max(64 << 10)
}

/// A class of lengths. A scenario uses a few of them; see [`crate::Swarm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Nothing at all.
    Zero,
    /// One byte, which is also what urgent data is.
    One,
    /// Less than any threshold in the kernel.
    Small,
    /// The sort of message that applications send.
    Message,
    /// Around one segment of Ethernet or of loopback.
    Segment,
    /// Around one page.
    Page,
    /// Exactly the ring, and one beside it.
    Ring,
    /// Some bytes beside the ring.
    NearRing,
    /// Twice the ring, and one beside it.
    TwoRings,
    /// The longest, and one below.
    Most,
    /// Anything, all magnitudes alike.
    Any,
    /// What fills the ring to the last byte, and one beside it.
    Fill,
    /// What fills the socket's buffers to the last byte, and one beside it.
    Room,
    /// What brings the ring's write cursor to its end, and one beside it.
    Wrap,
    /// What is pending, and one beside it.
    Pending,
}

/// The classes with the weights that they have when a scenario uses them: for sends, for receives.
pub(crate) const SIZES: &[(Size, u32, u32)] = &[
    (Size::Zero, 1, 1),
    (Size::One, 3, 2),
    (Size::Small, 8, 4),
    (Size::Message, 8, 4),
    (Size::Segment, 2, 1),
    (Size::Page, 3, 2),
    (Size::Ring, 3, 2),
    (Size::NearRing, 1, 1),
    (Size::TwoRings, 1, 1),
    (Size::Most, 1, 2),
    (Size::Any, 2, 2),
    (Size::Fill, 4, 0),
    (Size::Room, 1, 0),
    (Size::Wrap, 3, 0),
    (Size::Pending, 0, 12),
];

impl Size {
    /// A length of this class, given the direction that it is for and the ring that is assumed for it.
    pub fn draw(self, draw: &mut Draw<'_>, flow: &Flow, ring: u32) -> u32 {
        let most = most(ring);
        let len = match self {
            Size::Zero => 0,
            Size::One => 1,
            Size::Small => draw.within(2..=100),
            Size::Message => draw.within(101..=2000),
            Size::Segment => draw.pick(&[536, 1447, 1448, 1449, 1460, 32_741, 65_483]),
            Size::Page => draw.pick(&[4095, 4096, 4097]),
            Size::Ring => beside(draw, ring),
            Size::NearRing => ring - 64 + draw.below(129),
            Size::TwoRings => beside(draw, 2 * ring),
            Size::Most => most - draw.below(2),
            Size::Any => any(draw),
            Size::Fill => beside(draw, ring.saturating_sub(flow.pending)),
            Size::Room => beside(draw, flow.room.saturating_sub(flow.pending)),
            Size::Wrap => beside(draw, ring - flow.sent % ring),
            Size::Pending => beside(draw, flow.pending),
        };
        len.min(most)
    }
}

/// A length of any class, for the direction before its first byte.
pub(crate) fn any_boundary(draw: &mut Draw<'_>, ring: u32) -> u32 {
    let (size, ..) = draw.pick(SIZES);
    size.draw(draw, &Flow::default(), ring)
}

/// A length or a neighbour of it, the length itself most often.
fn beside(draw: &mut Draw<'_>, len: u32) -> u32 {
    match draw.below(4) {
        0 => len.saturating_sub(1),
        1 => len + 1,
        _ => len,
    }
}

/// A length up to 64 KiB, all magnitudes alike.
fn any(draw: &mut Draw<'_>) -> u32 {
    let magnitude = draw.within(1..=16);
    draw.within(0..=1 << magnitude)
}
