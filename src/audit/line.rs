//! One line: its number, its link to the line before, its seal.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What stands for the line before the first one.
const NO_LINE: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// What stands in the head for a seal that there is not.
const NO_SEAL: &str = "----------------------------------------------------------------";
const SEAL: &str = ",\"mac\":";

/// The key of the seals; wiped when dropped, never printed.
#[derive(Clone)]
pub struct SealKey(Zeroizing<[u8; 32]>);

impl SealKey {
    /// Takes the audit key of a credential store.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*key))
    }

    /// Names the key in a line without telling anything of it: 16 hexadecimal digits.
    pub fn id(&self) -> String {
        let hash = self.mac(b"layer-mcp/v1/audit/key-id");
        hex(&hash.finalize().into_bytes()).chars().take(16).collect()
    }

    pub(super) fn seal(&self, text: &str) -> String {
        hex(&self.mac(text.as_bytes()).finalize().into_bytes())
    }

    /// Compares in constant time.
    pub(super) fn has_sealed(&self, text: &str, seal: &str) -> bool {
        unhex(seal).is_some_and(|seal| self.mac(text.as_bytes()).verify_slice(&seal).is_ok())
    }

    #[allow(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
    fn mac(&self, text: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(self.0.as_slice()).expect("any length");
        mac.update(text);
        mac
    }
}

/// What `head` says: the newest line's number and hash, and the seal of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: u64,
    pub(super) hash: String,
    pub(super) seal: Option<String>,
}

impl Head {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (number, hash, seal) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || unhex(hash)?.len() != 32 {
            return None;
        }
        let seal = (seal != NO_SEAL).then(|| seal.to_owned());
        Some(Self { number: number.parse().ok()?, hash: hash.to_owned(), seal })
    }

    pub(super) fn sealed_text(&self) -> String {
        format!("{:020} {}", self.number, self.hash)
    }
}

/// Where the next line is hung on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    number: u64,
    prev: String,
    recovered: bool,
}

/// A line that is ready to be written.
pub(super) struct Line {
    number: u64,
    pub(super) text: String,
}

impl Link {
    /// The head is believed, so that removing lines breaks the chain for good, unless the last
    /// line was the next one and its writer was killed before it could say so.
    pub(super) fn after(head: Option<Head>, last: Option<&str>) -> Self {
        let of_last = last.map(|line| (hash(line), number(line), prev(line)));
        match (head, of_last) {
            (None, None) => Self { number: 1, prev: NO_LINE.to_owned(), recovered: false },
            (None, Some((hash, number, _))) => Self {
                number: number.unwrap_or(0).saturating_add(1),
                prev: hash,
                recovered: number.is_none(),
            },
            (Some(head), Some((hash, Some(number), Some(prev))))
                if prev == head.hash && number == head.number.saturating_add(1) =>
            {
                Self { number: number.saturating_add(1), prev: hash, recovered: false }
            }
            // A line that was cut short by the end of its writer.
            (Some(head), Some((hash, None, _))) => {
                Self { number: head.number.saturating_add(1), prev: hash, recovered: true }
            }
            (Some(head), _) => {
                Self { number: head.number.saturating_add(1), prev: head.hash, recovered: false }
            }
        }
    }

    pub(super) fn line(
        &self,
        now: Timestamp,
        session: &str,
        event: &str,
        fields: Map<String, Value>,
        key: Option<&SealKey>,
    ) -> Line {
        let mut all = Map::new();
        all.insert("v".into(), 1.into());
        all.insert("ts".into(), now.to_string().into());
        all.insert("seq".into(), self.number.into());
        all.insert("session".into(), session.into());
        all.insert("pid".into(), std::process::id().into());
        all.insert("event".into(), event.into());
        all.extend(fields);
        if self.recovered {
            all.insert("recovered".into(), true.into());
        }
        if let Some(key) = key {
            all.insert("key".into(), key.id().into());
        }
        all.insert("prev".into(), self.prev.as_str().into());
        let object = Value::Object(all).to_string();
        let covered = object.strip_suffix('}').unwrap_or(&object);
        let seal = match key {
            Some(key) => format!("\"{}\"", key.seal(covered)),
            None => "null".to_owned(),
        };
        Line { number: self.number, text: format!("{covered}{SEAL}{seal}}}") }
    }
}

impl Line {
    /// What `head` says after this line. Always of the same length, so that it can be written
    /// over the one before.
    pub(super) fn head(&self, key: Option<&SealKey>) -> String {
        let head = Head { number: self.number, hash: hash(&self.text), seal: None };
        let text = head.sealed_text();
        let seal = key.map_or_else(|| NO_SEAL.to_owned(), |key| key.seal(&text));
        format!("{text} {seal}\n")
    }
}

/// A line, taken apart.
pub(super) struct Parsed<'a> {
    pub(super) fields: Map<String, Value>,
    /// What the seal covers.
    pub(super) covered: &'a str,
}

impl Parsed<'_> {
    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    pub(super) fn number(&self, field: &str) -> Option<u64> {
        self.fields.get(field).and_then(Value::as_u64)
    }
}

/// Takes a line apart; `None` when it is no line of ours.
pub(super) fn parse(line: &str) -> Option<Parsed<'_>> {
    let (covered, _) = line.rsplit_once(SEAL)?;
    let Value::Object(fields) = serde_json::from_str(line).ok()? else { return None };
    Some(Parsed { fields, covered })
}

pub(super) fn number(line: &str) -> Option<u64> {
    parse(line)?.number("seq")
}

fn prev(line: &str) -> Option<String> {
    parse(line)?.text("prev").map(str::to_owned)
}

/// SHA-256 of a line without its end, in hexadecimal digits.
pub(super) fn hash(line: &str) -> String {
    hex(&Sha256::digest(line.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high * 16 + low).collect())
}
