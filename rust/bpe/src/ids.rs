//! Token ids as integers of two widths.

/// An integer that token ids are written as.
pub trait TokenId: Copy + Default {
    /// As many as fill 32 bytes.
    type Several: Copy + Default + AsRef<[Self]> + AsMut<[Self]>;

    /// The id in this width; an [`crate::Encoder`] is used with a width that holds all its ids.
    fn from_id(id: u32) -> Self;

    /// The id.
    fn id(self) -> u32;

    /// The one that begins some bytes of memory.
    fn read(bytes: &[u8]) -> Self;

    /// Writes it to the beginning of some bytes of memory.
    fn write(self, bytes: &mut [u8]);
}

impl TokenId for u16 {
    type Several = [u16; 16];

    #[inline(always)]
    fn from_id(id: u32) -> Self {
        id as Self
    }

    #[inline(always)]
    fn id(self) -> u32 {
        u32::from(self)
    }

    #[inline(always)]
    fn read(bytes: &[u8]) -> Self {
        Self::from_ne_bytes(bytes.as_chunks().0[0])
    }

    #[inline]
    fn write(self, bytes: &mut [u8]) {
        bytes[..2].copy_from_slice(&self.to_ne_bytes());
    }
}

impl TokenId for u32 {
    type Several = [u32; 8];

    #[inline(always)]
    fn from_id(id: u32) -> Self {
        id
    }

    #[inline(always)]
    fn id(self) -> u32 {
        self
    }

    #[inline(always)]
    fn read(bytes: &[u8]) -> Self {
        Self::from_ne_bytes(bytes.as_chunks().0[0])
    }

    #[inline]
    fn write(self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&self.to_ne_bytes());
    }
}
