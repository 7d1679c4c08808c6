//! The lines of a stream, each bounded.

/// A longer line is cut; a handler may print one that has no end.
pub const LONGEST: usize = 64 * 1024;

/// A line of a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Its text, without its end.
    pub text: String,
    /// How many bytes of it were cut off.
    pub cut: usize,
}

/// Cuts a stream of bytes into lines as they come.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    dropped: usize,
}

impl Lines {
    /// Takes what was read, and hands over each line that is complete.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.extend(line);
            each(self.take());
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.extend(bytes);
    }

    /// The last line, if the stream ended in the middle of one.
    pub fn end(&mut self) -> Option<Line> {
        (!self.begun.is_empty()).then(|| self.take())
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.begun.len()).min(bytes.len());
        let (kept, dropped) = bytes.split_at(room);
        self.begun.extend_from_slice(kept);
        self.dropped += dropped.len();
    }

    fn take(&mut self) -> Line {
        let line = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
        let text = String::from_utf8_lossy(line).into_owned();
        self.begun.clear();
        Line {
            text,
            cut: std::mem::take(&mut self.dropped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Line> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| found.push(line));
        }
        found.extend(lines.end());
        found
    }

    fn texts(pieces: &[&[u8]]) -> Vec<String> {
        lines(pieces).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_line_may_come_in_pieces_and_the_last_one_needs_no_end() {
        assert_eq!(
            texts(&[b"on", b"e\ntwo\r\n\nfo", b"ur"]),
            ["one", "two", "", "four"]
        );
    }

    #[test]
    fn a_line_without_end_is_cut_and_says_by_how_much() {
        let long = vec![b'x'; LONGEST + 10];
        let found = lines(&[&long, b"yy\nnext\n"]);
        assert_eq!((found[0].text.len(), found[0].cut), (LONGEST, 12));
        assert_eq!((found[1].text.as_str(), found[1].cut), ("next", 0));
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        assert_eq!(texts(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
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
