//! One line: its number, its link to the line before, its seal.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What stands for the line before the first one.
const NO_LINE: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const SEAL: &str = ",\"mac\":";
/// The event of the first line under a new key.
pub(super) const NEW_KEY: &str = "audit.key";

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

/// What `head` says: the newest line's number and hash, and for each key a sealed mark of the
/// newest line under it, so that a trail that was written anew without the key is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) newest: Place,
    pub(super) marks: Vec<Mark>,
}

/// A line by number and hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) hash: String,
}

/// The newest line that a key has sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// [`SealKey::id`].
    pub(super) key: String,
    pub(super) place: Place,
    seal: String,
}

/// Stores that are lost leave marks of their keys; so many are kept.
const MOST_MARKS: usize = 256;

impl Place {
    fn parse(number: &str, hash: &str) -> Option<Self> {
        let is_hash = unhex(hash).is_some_and(|hash| hash.len() == 32);
        let number = number.parse().ok()?;
        is_hash.then(|| Self { number, hash: hash.to_owned() })
    }

    /// How a line names the one that its key sealed before: `number:hash`.
    pub(super) fn parse_reference(text: &str) -> Option<Self> {
        let (number, hash) = text.split_once(':')?;
        Self::parse(number, hash)
    }
}

impl Mark {
    /// Whether the key made it.
    pub(super) fn is_of(&self, key: &SealKey) -> bool {
        key.has_sealed(&Self::sealed_text(&self.place), &self.seal)
    }

    fn sealed_text(place: &Place) -> String {
        format!("layer-mcp/v1/audit/mark {} {}", place.number, place.hash)
    }
}

impl Head {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (number, hash) = lines.next()?.split_once(' ')?;
        let newest = Place::parse(number, hash)?;
        let mark = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let [key, number, hash, seal] = words.as_slice() else { return None };
            let place = Place::parse(number, hash)?;
            Some(Mark { key: (*key).to_owned(), place, seal: (*seal).to_owned() })
        };
        Some(Self { newest, marks: lines.map(mark).collect::<Option<_>>()? })
    }

    pub(super) fn mark(&self, key: &str) -> Option<&Mark> {
        self.marks.iter().find(|mark| mark.key == key)
    }

    fn text(&self) -> String {
        let newest = format!("{} {}\n", self.newest.number, self.newest.hash);
        let marks = self.marks.iter().map(|mark| {
            format!("{} {} {} {}\n", mark.key, mark.place.number, mark.place.hash, mark.seal)
        });
        std::iter::once(newest).chain(marks).collect()
    }
}

/// Where the next line is hung on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    number: u64,
    prev: String,
    /// The line before was cut short.
    recovered: bool,
    /// There are lines, and no head.
    lost: bool,
    marks: Vec<Mark>,
}

/// What a line says of itself beside its event.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Role {
    /// It is the first of its file, so that a file without its beginning is found.
    pub(super) opens: bool,
    /// It is the last under its key, which is erased: no mark is kept.
    pub(super) ends_key: bool,
}

/// A line that is ready to be written.
pub(super) struct Line {
    pub(super) text: String,
    /// What `head` says after it.
    pub(super) head: String,
}

impl Link {
    /// The head is believed, so that removing lines breaks the chain for good, unless the last
    /// line was the next one and its writer was killed before it could say so.
    pub(super) fn after(head: Option<Head>, last: Option<&str>) -> Self {
        let marks = head.as_ref().map(|head| head.marks.clone()).unwrap_or_default();
        let of_last = last.map(|line| (hash(line), number(line), prev(line)));
        let at = |number: u64, prev: String| Self {
            number: number.saturating_add(1),
            prev,
            recovered: false,
            lost: false,
            marks,
        };
        match (head.map(|head| head.newest), of_last) {
            (None, None) => at(0, NO_LINE.to_owned()),
            (None, Some((hash, number, _))) => {
                Self { recovered: number.is_none(), lost: true, ..at(number.unwrap_or(0), hash) }
            }
            (Some(head), Some((hash, Some(number), Some(prev))))
                if prev == head.hash && number == head.number.saturating_add(1) =>
            {
                at(number, hash)
            }
            // A line that was cut short by the end of its writer.
            (Some(head), Some((hash, None, _))) => {
                Self { recovered: true, ..at(head.number, hash) }
            }
            (Some(head), _) => at(head.number, head.hash),
        }
    }

    pub(super) fn line(
        mut self,
        now: Timestamp,
        session: &str,
        event: &str,
        fields: Map<String, Value>,
        key: Option<&SealKey>,
        role: Role,
    ) -> Line {
        let mut all = Map::new();
        all.insert("v".into(), 1.into());
        all.insert("ts".into(), now.to_string().into());
        all.insert("seq".into(), self.number.into());
        all.insert("session".into(), session.into());
        all.insert("pid".into(), std::process::id().into());
        all.insert("event".into(), event.into());
        all.extend(fields);
        if role.opens {
            all.insert("opens".into(), true.into());
        }
        if self.recovered {
            all.insert("recovered".into(), true.into());
        }
        let id = key.map(SealKey::id);
        if let Some(id) = &id {
            all.insert("key".into(), id.as_str().into());
            match self.marks.iter().find(|mark| mark.key == *id) {
                Some(mark) if mark.place.hash == self.prev => {}
                Some(Mark { place, .. }) => {
                    let reference = format!("{}:{}", place.number, place.hash);
                    all.insert("after".into(), reference.into());
                }
                None if event == NEW_KEY || self.number == 1 => {}
                None => self.lost = true,
            }
        }
        if self.lost {
            all.insert("lost".into(), true.into());
        }
        all.insert("prev".into(), self.prev.as_str().into());
        let object = Value::Object(all).to_string();
        let covered = object.strip_suffix('}').unwrap_or(&object);
        let seal = match key {
            Some(key) => format!("\"{}\"", key.seal(covered)),
            None => "null".to_owned(),
        };
        let text = format!("{covered}{SEAL}{seal}}}");
        let newest = Place { number: self.number, hash: hash(&text) };
        if let (Some(key), Some(id)) = (key, id) {
            self.marks.retain(|mark| mark.key != id);
            while self.marks.len() >= MOST_MARKS {
                self.marks.remove(0);
            }
            if !role.ends_key {
                let seal = key.seal(&Mark::sealed_text(&newest));
                self.marks.push(Mark { key: id, place: newest.clone(), seal });
            }
        }
        Line { text, head: Head { newest, marks: self.marks }.text() }
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
