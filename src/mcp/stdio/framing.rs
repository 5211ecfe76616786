//! Lines out of a byte stream, in bounded memory, and the id of a message that is no use
//! otherwise.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// What stands between two line ends.
#[derive(Debug)]
pub(super) enum Line {
    /// A line without its end.
    Whole(Vec<u8>),
    /// The last bytes of an input that does not close with a line end.
    Unfinished(Vec<u8>),
    /// A line above the limit. It is gone, except for the id of the request it held.
    TooLong(Option<Value>),
    /// Nothing follows.
    End,
}

/// Cuts an input into lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: BufReader<R>,
    /// The beginning of the line that is being read. It lives here, not in the future, because
    /// rmcp drops the future of a read whenever it has something else to do.
    line: Vec<u8>,
    /// Watches over a line above the limit go by.
    skipped: Option<IdScanner>,
    limit: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(input: R, limit: usize) -> Self {
        Self {
            input: BufReader::with_capacity(READ_SIZE, input),
            line: Vec::new(),
            skipped: None,
            limit,
        }
    }

    /// The next line. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> io::Result<Line> {
        loop {
            let chunk = self.input.fill_buf().await?;
            if chunk.is_empty() {
                self.skipped = None;
                let rest = std::mem::take(&mut self.line);
                return Ok(if rest.is_empty() { Line::End } else { Line::Unfinished(rest) });
            }

            // From here to `consume` nothing awaits, so a byte is either taken and consumed or
            // neither.
            let mut parts = chunk.splitn(2, |byte| *byte == b'\n');
            let part = parts.next().unwrap_or_default();
            let ended = parts.next().is_some();
            let used = part.len() + usize::from(ended);
            if let Some(scanner) = &mut self.skipped {
                scanner.feed(part);
            } else if self.line.len() + part.len() > self.limit {
                let mut scanner = IdScanner::default();
                scanner.feed(&std::mem::take(&mut self.line));
                scanner.feed(part);
                self.skipped = Some(scanner);
            } else {
                self.line.extend_from_slice(part);
            }
            self.input.consume(used);

            if ended {
                return Ok(match self.skipped.take() {
                    Some(scanner) => Line::TooLong(scanner.finish()),
                    None => Line::Whole(std::mem::take(&mut self.line)),
                });
            }
        }
    }
}

/// Finds the id of a request in text that no JSON parser accepts or that is too long to keep:
/// lone surrogates, bytes that are not UTF-8, nesting beyond all measure. Without the id the
/// client would wait for its time-out.
///
/// The text must be one object with balanced braces and closed strings, so an id is never
/// guessed from half a message. Clients differ in the order of members (the TypeScript SDK puts
/// the id last), hence the whole text is looked at. Neither depth nor length costs memory.
#[derive(Debug, Default)]
pub(super) struct IdScanner {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The outer object has been opened.
    opened: bool,
    /// This is not one object.
    broken: bool,
    reading_key: bool,
    member: Member,
    /// The key or the id that is being read.
    text: Vec<u8>,
    id: Option<Value>,
    has_method: bool,
}

/// The member of the outer object that is being read.
#[derive(Debug, Default, PartialEq, Eq)]
enum Member {
    Id,
    Method,
    #[default]
    Other,
}

impl IdScanner {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// The id, if the text was a request with one that may be sent back.
    pub(super) fn finish(self) -> Option<Value> {
        let whole = self.opened && self.depth == 0 && !self.in_string && !self.broken;
        self.id.filter(|_| whole && self.has_method)
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            self.keep(byte);
            if self.escaped {
                self.escaped = false;
            } else if byte == b'\\' {
                self.escaped = true;
            } else if byte == b'"' {
                self.in_string = false;
            }
            return;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => self.keep(byte),
            b'{' if self.depth == 0 && !self.opened => {
                self.opened = true;
                self.depth = 1;
                self.reading_key = true;
            }
            // Anything before or after the outer object.
            _ if self.depth == 0 => self.broken = true,
            b'}' | b']' => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.end_member();
                } else {
                    self.keep(byte);
                }
            }
            b',' if self.depth == 1 => {
                self.end_member();
                self.reading_key = true;
            }
            b':' if self.depth == 1 && self.reading_key => {
                self.member = match self.text.trim_ascii() {
                    br#""id""# => Member::Id,
                    br#""method""# => Member::Method,
                    _ => Member::Other,
                };
                self.text.clear();
                self.reading_key = false;
            }
            other => {
                match other {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    _ => {}
                }
                self.keep(other);
            }
        }
    }

    fn keep(&mut self, byte: u8) {
        let wanted = self.reading_key || self.member == Member::Id;
        if wanted && self.text.len() < KEPT_TEXT {
            self.text.push(byte);
        }
    }

    fn end_member(&mut self) {
        match std::mem::take(&mut self.member) {
            // Text cut at `KEPT_TEXT` is no JSON any more, so a longer id counts as none.
            Member::Id => self.id = serde_json::from_slice(&self.text).ok().filter(is_id),
            Member::Method => self.has_method = true,
            Member::Other => {}
        }
        self.text.clear();
    }
}

/// Whether this may be the id of a request: a string or an integer.
pub(super) fn is_id(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Number(number) => !number.is_f64(),
        _ => false,
    }
}

const READ_SIZE: usize = 64 * 1024;

/// The longest key or id that is kept of a message that cannot be read.
const KEPT_TEXT: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

    use serde_json::json;

    use super::*;

    fn scan(text: &[u8]) -> Option<Value> {
        let mut scanner = IdScanner::default();
        // In pieces, as it comes from a pipe.
        for piece in text.chunks(3) {
            scanner.feed(piece);
        }
        scanner.finish()
    }

    #[test]
    fn the_id_is_found_wherever_it_stands() {
        assert_eq!(scan(br#"{"id":7,"method":"m","params":{"id":8}}"#), Some(json!(7)));
        assert_eq!(scan(br#"{"method":"m","params":{"id":8},"id":7}"#), Some(json!(7)));
        assert_eq!(scan(br#" { "method" : "m" , "id" : "a\"}" } "#), Some(json!("a\"}")));
        assert_eq!(scan(b"{\"id\":1,\"method\":\"m\",\"params\":\"\xff\"}"), Some(json!(1)));
        assert_eq!(scan(br#"{"id":1,"method":"m","params":"\ud800"}"#), Some(json!(1)));
    }

    #[test]
    fn no_id_is_guessed() {
        for text in [
            &br#"{"id":7,"method":"m""#[..],
            br#"{"id":7,"method":"m"}}"#,
            br#"{"id":7,"method":"m"} x"#,
            br#"{"id":7,"method":"m}"#,
            br#"{"method":"m","params":{"id":7}}"#,
            br#"[{"id":7,"method":"m"}]"#,
            br#"{"id":7,"result":{}}"#,
            br#"{"id":1.5,"method":"m"}"#,
            br#"{"id":null,"method":"m"}"#,
            br#"{"id":{"id":7},"method":"m"}"#,
            br#"{"id":7 8,"method":"m"}"#,
            b"",
            b"}",
        ] {
            assert_eq!(scan(text), None, "{}", String::from_utf8_lossy(text));
        }
        let long = format!(r#"{{"id":"{}","method":"m"}}"#, "x".repeat(KEPT_TEXT));
        assert_eq!(scan(long.as_bytes()), None);
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = format!(
            r#"{{"method":"m","params":{}{},"id":3}}"#,
            "[".repeat(1 << 20),
            "]".repeat(1 << 20)
        );
        assert_eq!(scan(deep.as_bytes()), Some(json!(3)));
    }

    #[tokio::test]
    async fn lines_are_cut_at_the_limit_and_the_next_one_is_whole() {
        let input = b"12345678\n123456789\n{\"method\":1,\"id\":4}\n\nend";
        let mut lines = Lines::new(&input[..], 8);
        assert!(matches!(lines.next().await.unwrap(), Line::Whole(line) if line == b"12345678"));
        assert!(matches!(lines.next().await.unwrap(), Line::TooLong(None)));
        assert!(matches!(lines.next().await.unwrap(), Line::TooLong(Some(id)) if id == json!(4)));
        assert!(matches!(lines.next().await.unwrap(), Line::Whole(line) if line.is_empty()));
        assert!(matches!(lines.next().await.unwrap(), Line::Unfinished(line) if line == b"end"));
        assert!(matches!(lines.next().await.unwrap(), Line::End));
    }

    #[tokio::test]
    async fn a_line_without_end_is_not_kept() {
        let endless = tokio::io::AsyncReadExt::take(tokio::io::repeat(b'x'), 1 << 20);
        let mut lines = Lines::new(endless, 1024);
        assert!(matches!(lines.next().await.unwrap(), Line::End));
        assert!(lines.line.capacity() < 2 * READ_SIZE);
    }
}
