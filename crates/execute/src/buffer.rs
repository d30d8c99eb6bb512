//! The memory that calls are given: mapped, unmapped, or torn.

use std::io;
use std::ptr::{self, NonNull};

use scenario::Buffer;
use scenario::limits::CALL_BYTES;

use crate::Error;

/// Bytes after a receive buffer that are watched for changes, too.
const GUARD: usize = 64;
/// Mapped bytes: the longest call and what is behind it. Whole pages.
const ROOM: usize = CALL_BYTES as usize + 4096;
/// Bytes after them that no access is allowed to. Not shorter than the longest call.
const HOLE: usize = ROOM;

/// What receive buffers hold before the call. Payload looks random, so one byte in 256 is the same.
pub(crate) const UNTOUCHED: u8 = 0xa5;
const UNTOUCHED_BLOCK: [u8; 256] = [UNTOUCHED; 256];

/// A piece of memory to hand to a call; made by [`Outbox::load`], [`Inbox::place`] and
/// [`Duplicate::span`] only. It lies within
/// one mapping whose part behind `ROOM` bytes is inaccessible, and nothing but payload is in that mapping: a
/// kernel that reads or writes all of it does no harm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Offset in the mapping.
    at: usize,
    pub(crate) start: *mut u8,
    pub(crate) len: u32,
}

/// A copy of what a span holds, in memory that nobody else writes to.
#[derive(Debug)]
pub(crate) struct Duplicate {
    memory: Memory,
    at: usize,
    len: u32,
}

impl Span {
    /// A copy: as far as this span is mapped, it is, too.
    pub(crate) fn duplicate(self) -> Result<Duplicate, Error> {
        let mut memory = Memory::new()?;
        let mapped = (self.len as usize).min(ROOM - self.at);
        let to = memory.bytes_mut()[self.at..].as_mut_ptr();
        // SAFETY: so many bytes behind `at` are mapped in both, which are different mappings; a send is under way on
        // this thread, so that nobody writes to the span's
        unsafe { ptr::copy_nonoverlapping(self.start, to, mapped) };
        Ok(Duplicate { memory, at: self.at, len: self.len })
    }

    /// Moves `len` bytes from one offset in a mapped span to a lower one. What only they had touched is then
    /// [`UNTOUCHED`] again.
    ///
    /// # Panics
    /// If they do not lie in the span.
    pub(crate) fn move_down(self, from: u32, to: u32, len: u32) {
        let end = u64::from(from) + u64::from(len);
        assert!(to <= from && end <= self.len.into(), "bytes beyond their span");
        assert!(self.at + self.len as usize <= ROOM, "a span beyond its mapping");
        let [source, target] = [from, to].map(|offset| self.start.wrapping_add(offset as usize));
        // SAFETY: both lie in the span, which is mapped; a receive is under way on this thread, so that nobody holds a
        // reference into it
        unsafe { ptr::copy(source, target, len as usize) };
        let moved = len.min(from - to) as usize;
        let left = source.wrapping_add(len as usize - moved);
        // SAFETY: as above: the last of the bytes that were copied
        unsafe { ptr::write_bytes(left, UNTOUCHED, moved) };
    }
}

impl Duplicate {
    pub(crate) fn span(&self) -> Span {
        self.memory.span(self.at, self.len)
    }
}

/// `ROOM` accessible bytes followed by `HOLE` inaccessible ones.
#[derive(Debug)]
struct Memory(NonNull<u8>);

impl Memory {
    fn new() -> Result<Memory, Error> {
        let failed = |call| Error::Resource(call, io::Error::last_os_error());
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no existing one
        let all =
            unsafe { libc::mmap(ptr::null_mut(), ROOM + HOLE, libc::PROT_NONE, flags, -1, 0) };
        if all == libc::MAP_FAILED {
            return Err(failed("map call buffers"));
        }
        let memory = Memory(NonNull::new(all.cast()).ok_or_else(|| failed("map call buffers"))?);
        // SAFETY: the range is the start of the mapping just made, which nobody has a reference into
        if unsafe { libc::mprotect(all, ROOM, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
            return Err(failed("make call buffers accessible"));
        }
        Ok(memory)
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: ROOM bytes are mapped, initialized (zeroed by mmap) and live as long as self; calls write to
        // them only between a &mut and the next &, on this thread
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), ROOM) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and self is borrowed exclusively
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), ROOM) }
    }

    /// `len` bytes from offset `at` of the mapping on.
    fn span(&self, at: usize, len: u32) -> Span {
        assert!(at <= ROOM && len <= CALL_BYTES, "a span beyond its mapping");
        // wrapping_add keeps the provenance and is safe; at <= ROOM lies inside the mapping
        Span { at, start: self.0.as_ptr().wrapping_add(at), len }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and no reference outlives self. munmap of
        // such a range cannot fail
        unsafe { libc::munmap(self.0.as_ptr().cast(), ROOM + HOLE) };
    }
}

/// The offset at which a buffer of this kind starts.
fn start(buffer: Buffer) -> usize {
    match buffer {
        Buffer::Mapped => 0,
        Buffer::Unmapped => ROOM,
        Buffer::Torn(mapped) => ROOM.saturating_sub(mapped as usize),
    }
}

/// How many bytes of such a buffer are mapped.
pub(crate) fn mapped(buffer: Buffer, len: u32) -> usize {
    (len as usize).min(ROOM - start(buffer))
}

/// What sends read from.
#[derive(Debug)]
pub(crate) struct Outbox(Memory);

impl Outbox {
    pub(crate) fn new() -> Result<Outbox, Error> {
        Ok(Outbox(Memory::new()?))
    }

    /// A buffer of `len` bytes that holds `payload`, which is [`mapped`] bytes long.
    pub(crate) fn load(&mut self, buffer: Buffer, len: u32, payload: &[u8]) -> Span {
        let span = self.0.span(start(buffer), len);
        self.0.bytes_mut()[span.at..span.at + payload.len()].copy_from_slice(payload);
        span
    }

    /// What the buffer holds, as far as it is mapped.
    pub(crate) fn holds(&self, span: Span) -> &[u8] {
        &self.0.bytes()[span.at..ROOM.min(span.at + span.len as usize)]
    }
}

/// What receives write to. Between calls every byte of it is [`UNTOUCHED`].
#[derive(Debug)]
pub(crate) struct Inbox(Memory);

impl Inbox {
    pub(crate) fn new() -> Result<Inbox, Error> {
        let mut memory = Memory::new()?;
        memory.bytes_mut().fill(UNTOUCHED);
        Ok(Inbox(memory))
    }

    pub(crate) fn place(&self, buffer: Buffer, len: u32) -> Span {
        self.0.span(start(buffer), len)
    }

    /// Bytes of the buffer (and of the guard behind it) up to the last changed one.
    pub(crate) fn touched(&self, span: Span) -> u32 {
        let end = ROOM.min(span.at + span.len as usize + GUARD);
        let mut watched = &self.0.bytes()[span.at..end];
        while let Some((rest, last)) = watched.split_last_chunk::<256>() {
            if *last != UNTOUCHED_BLOCK {
                break;
            }
            watched = rest;
        }
        let touched = watched.iter().rposition(|&byte| byte != UNTOUCHED).map_or(0, |at| at + 1);
        u32::try_from(touched).unwrap_or(u32::MAX)
    }

    /// What stands in the first `count` bytes of the buffer, as far as it is mapped.
    pub(crate) fn received(&self, span: Span, count: u32) -> &[u8] {
        &self.0.bytes()[span.at..ROOM.min(span.at + count as usize)]
    }

    /// Makes the first `touched` bytes of the buffer [`UNTOUCHED`] again.
    pub(crate) fn restore(&mut self, span: Span, touched: u32) {
        self.0.bytes_mut()[span.at..span.at + touched as usize].fill(UNTOUCHED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test_log::test]
    fn a_buffer_holds_its_payload_as_far_as_it_is_mapped() {
        let mut outbox = Outbox::new().unwrap();
        let payload: Vec<u8> = (0..=255).collect();
        for (buffer, expected) in
            [(Buffer::Mapped, 256), (Buffer::Torn(50), 50), (Buffer::Unmapped, 0)]
        {
            assert_eq!(mapped(buffer, 256), expected);
            let span = outbox.load(buffer, 256, &payload[..expected]);
            assert_eq!(outbox.holds(span), &payload[..expected]);
            assert_eq!(span.at, start(buffer));
        }
        assert_eq!(mapped(Buffer::Torn(50), 20), 20);
    }

    #[test_log::test]
    fn the_last_changed_byte_counts_up_to_the_guards_end() {
        let mut inbox = Inbox::new().unwrap();
        let span = inbox.place(Buffer::Mapped, 5000);
        assert_eq!(inbox.touched(span), 0);
        for last in [0, 1, 255, 256, 4999, 5000, 5063] {
            inbox.0.bytes_mut()[last] = 0;
            let touched = u32::try_from(last + 1).unwrap();
            assert_eq!(inbox.touched(span), touched);
            inbox.restore(span, touched);
            assert_eq!(inbox.touched(span), 0);
        }
        let torn = inbox.place(Buffer::Torn(10), 100);
        assert_eq!(inbox.received(torn, 100).len(), 10);
        assert_eq!(inbox.touched(inbox.place(Buffer::Unmapped, 100)), 0);
    }
}
