//! The lines of a stream, each bounded: what is cut is said to be cut.

/// A longer line is cut; a handler may print one that has no end.
pub const LONGEST: usize = 64 * 1024;

/// Cuts a stream of bytes into lines as they come.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    dropped: usize,
}

impl Lines {
    /// Takes what was read, and hands over each line that is complete.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(String)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.extend(line);
            each(self.take());
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.extend(bytes);
    }

    /// The last line, if the stream ended in the middle of one.
    pub fn end(&mut self) -> Option<String> {
        (!self.begun.is_empty()).then(|| self.take())
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.begun.len()).min(bytes.len());
        let (kept, dropped) = bytes.split_at(room);
        self.begun.extend_from_slice(kept);
        self.dropped += dropped.len();
    }

    fn take(&mut self) -> String {
        let line = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
        let mut text = String::from_utf8_lossy(line).into_owned();
        if self.dropped > 0 {
            text.push_str(&format!(" … [{} bytes cut]", self.dropped));
        }
        self.begun.clear();
        self.dropped = 0;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| found.push(line));
        }
        found.extend(lines.end());
        found
    }

    #[test]
    fn a_line_may_come_in_pieces_and_the_last_one_needs_no_end() {
        assert_eq!(
            lines(&[b"on", b"e\ntwo\r\n\nfo", b"ur"]),
            ["one", "two", "", "four"]
        );
    }

    #[test]
    fn a_line_without_end_is_cut_and_says_by_how_much() {
        let long = vec![b'x'; LONGEST + 10];
        let found = lines(&[&long, b"yy\nnext\n"]);
        assert!(found[0].ends_with("x … [12 bytes cut]"));
        assert_eq!(found[1], "next");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        assert_eq!(lines(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
    }

    proptest::proptest! {
        #[test]
        fn how_a_stream_is_cut_into_reads_changes_nothing(text in "[a-z\n]{0,60}", at in 0usize..60) {
            let bytes = text.as_bytes();
            let (first, second) = bytes.split_at(at.min(bytes.len()));
            assert_eq!(lines(&[bytes]), lines(&[first, second]));
        }
    }
}
