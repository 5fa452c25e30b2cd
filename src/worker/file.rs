//! A file in an answer that was made on a worker, read piece by piece.
//!
//! A reactor has a table of descriptors of its own, so it cannot send the file by its descriptor: the worker
//! reads it, and drops it.

use rustix::io::pread;

use crate::http::{BodySource, FileRange, Piece};

/// Bytes read at once.
const PIECE_BYTES: u64 = 64 * 1024;

pub(super) struct FileSource {
    range: FileRange,
    len: u64,
}

impl FileSource {
    pub(super) fn new(range: FileRange) -> FileSource {
        FileSource { len: range.len, range }
    }
}

impl BodySource for FileSource {
    fn next(&mut self) -> Piece {
        if self.range.len == 0 {
            return Piece::End;
        }
        let mut bytes = vec![0; self.range.len.min(PIECE_BYTES) as usize];
        match pread(&self.range.file, &mut bytes, self.range.offset) {
            // It shrank behind its announced length, or cannot be read.
            Ok(0) | Err(_) => Piece::Broken,
            Ok(count) => {
                bytes.truncate(count);
                self.range.offset += count as u64;
                self.range.len -= count as u64;
                Piece::Bytes(bytes)
            }
        }
    }

    fn len(&self) -> Option<u64> {
        Some(self.len)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn source(offset: u64, len: u64) -> FileSource {
        let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        FileSource::new(FileRange { file: file.into(), offset, len })
    }

    #[test]
    #[cfg_attr(miri, ignore = "it knows no pread")]
    fn a_part_of_a_file_is_read_to_its_end() {
        let mut source = source(1, 7);
        assert_eq!(source.len(), Some(7));
        assert_eq!(source.next(), Piece::Bytes(b"package".to_vec()));
        assert_eq!(source.next(), Piece::End);
    }

    #[test]
    fn a_file_that_shrank_breaks_the_answer() {
        assert_eq!(source(1 << 40, 7).next(), Piece::Broken);
    }
}
