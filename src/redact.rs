//! The one redactor for text that leaves the process, and the one cleaner for text that enters it.
//!
//! [`Redactor`] stands under every sink (log, standard error, audit trail, tool results): it cuts
//! whatever looks like a secret, and the exact secrets that this process holds, in the spellings
//! in which they tend to reappear. [`clean`] takes control sequences and invisible characters out
//! of text that somebody else wrote.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

/// How many characters of a token may appear in logs and on the terminal: `pat_` and four more.
pub const TOKEN_HINT_LENGTH: usize = 8;

/// Cuts secrets out of text. Clones share the registered secrets.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Arc<RwLock<Vec<Spelling>>>,
}

impl Redactor {
    /// A redactor that knows the general rules and no exact secret yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes this secret unprintable: as it is, as JSON and URLs escape it, in hexadecimal, and
    /// in base64 at each of its three alignments.
    ///
    /// Secrets of fewer than eight bytes are ignored: cutting them would shred ordinary text,
    /// and no secret of this program is that short.
    pub fn register(&self, secret: &str) {
        if secret.len() < MIN_SECRET {
            return;
        }
        if let Some(rest) = secret.strip_prefix(TOKEN_PREFIX) {
            self.register(rest);
        }
        let replacement = if secret.starts_with(TOKEN_PREFIX) {
            secret.chars().take(TOKEN_HINT_LENGTH).chain([CUT]).collect()
        } else {
            String::from(REMOVED)
        };
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        for text in spellings(secret) {
            if secrets.iter().any(|known| known.text == text) {
                continue;
            }
            let replacement = if *text == secret { replacement.clone() } else { REMOVED.into() };
            secrets.push(Spelling { text, replacement });
        }
        // Longer spellings first, so that none is broken up by a shorter one inside it.
        secrets.sort_by_key(|spelling| std::cmp::Reverse(spelling.text.len()));
    }

    /// Whether a known secret, or a token of Layer.ai, stands in the text.
    pub fn holds_secret(&self, text: &str) -> bool {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().any(|spelling| text.contains(spelling.text.as_str()))
            || looks_like_a_token(text)
    }

    /// The text without secrets.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        {
            let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
            for spelling in secrets.iter() {
                if text.contains(spelling.text.as_str()) {
                    text = Cow::Owned(text.replace(spelling.text.as_str(), &spelling.replacement));
                }
            }
        }
        for rule in [cut_userinfo, cut_parameters, cut_bearer, cut_tokens] {
            if let Some(shorter) = rule(&text) {
                text = Cow::Owned(shorter);
            }
        }
        text
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Redactor(...)")
    }
}

/// Makes text of unknown origin safe to show to a person or a model: no terminal escape
/// sequences, no control characters but line feed and tab, no invisible or direction-changing
/// characters, and at most `most` characters, the last of which is `…` when something was cut.
///
/// Use it again after any decoding, because entities and escapes can decode into what it removes.
/// Applying it twice changes nothing more.
pub fn clean(text: &str, most: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(most.saturating_mul(4)));
    let mut count = 0;
    let mut last = None;
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let character = match character {
            ESCAPE => {
                rest = after_escape(rest);
                continue;
            }
            '\u{9b}' => {
                rest = after_control_sequence(rest);
                continue;
            }
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => {
                rest = after_string(rest);
                continue;
            }
            '\u{2028}' | '\u{2029}' => '\n',
            other => other,
        };
        if !is_shown(character) || (is_selector(character) && !takes_selector(last, character)) {
            continue;
        }
        if count == most {
            kept.pop();
            if most > 0 {
                kept.push(CUT);
            }
            return kept;
        }
        kept.push(character);
        count += 1;
        last = Some(character);
    }
    kept
}

/// Like [`clean`], on one line: line feeds and tabs become spaces.
pub fn clean_line(text: &str, most: usize) -> String {
    clean(text, most).replace(['\n', '\t'], " ")
}

/// One way in which a secret can be spelled, and what stands in its place.
struct Spelling {
    text: Zeroizing<String>,
    replacement: String,
}

fn spellings(secret: &str) -> Vec<Zeroizing<String>> {
    const UNRESERVED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let mut all = vec![
        secret.to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        utf8_percent_encode(secret, UNRESERVED).to_string(),
        utf8_percent_encode(secret, UNRESERVED).to_string().replace("%20", "+"),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        secret.bytes().map(|byte| format!("{byte:02X}")).collect(),
    ];
    if let Ok(quoted) = serde_json::to_string(secret) {
        let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        all.extend(inner.map(str::to_owned));
    }
    for offset in 0..3_usize {
        let mut bytes = Zeroizing::new(vec![0; offset]);
        bytes.extend_from_slice(secret.as_bytes());
        // Characters that also depend on the bytes before or after the secret are left out.
        let skipped = (offset * 8).div_ceil(6);
        let whole = bytes.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = Zeroizing::new(engine.encode(bytes.as_slice()));
            all.extend(encoded.get(skipped..whole).map(str::to_owned));
        }
    }
    all.into_iter().map(Zeroizing::new).collect()
}

/// How keys of other services begin, in lower case, and whose they are. Longer ones first.
pub const FOREIGN_KEYS: [(&str, &str); 10] = [
    ("lp_", "Layers, another service with a similar name"),
    ("sk-ant-", "Anthropic"),
    ("sk-", "OpenAI or a service like it"),
    ("sk_", "ElevenLabs, Stripe or a service like them"),
    ("ghp_", "GitHub"),
    ("github_pat_", "GitHub"),
    ("glpat-", "GitLab"),
    ("hf_", "Hugging Face"),
    ("r8_", "Replicate"),
    ("aiza", "Google"),
];
/// Keys have at least so many characters after their beginning.
const KEY_TAIL: usize = 12;

/// The text without keys of other services. For what a person typed at the wrong place: names of
/// files can look like such keys, so this is not done to all that leaves the process.
pub fn cut_foreign_keys(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for (prefix, _) in FOREIGN_KEYS {
        let shorter = replace_all(&text, prefix, |rest, before| {
            let within = before.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_');
            let removed = key_length(rest);
            (!within && removed >= KEY_TAIL).then_some(Cutting { kept: 0, removed })
        });
        if let Some(shorter) = shorter {
            text = Cow::Owned(shorter);
        }
    }
    text
}

/// Whether a text as a whole is a token of Layer.ai, or of the service that is taken for it. (Other
/// keys begin as ids and names may.)
pub fn is_secret(text: &str) -> bool {
    [TOKEN_PREFIX, "lp_"].into_iter().filter_map(|prefix| text.strip_prefix(prefix)).any(|rest| {
        key_length(rest) == rest.len()
            && rest.len() >= 2 * KEY_TAIL
            && rest.contains(|it: char| it.is_ascii_digit())
    })
}

/// Whether something in the text is a token beyond doubt: names of files begin with `pat_` too, but
/// have no such run of letters and digits.
fn looks_like_a_token(text: &str) -> bool {
    text.match_indices(TOKEN_PREFIX).any(|(at, prefix)| {
        let rest = text.get(at + prefix.len()..).unwrap_or_default();
        let tail = rest.get(..key_length(rest)).unwrap_or_default();
        let runs = tail.split(|it: char| !it.is_ascii_alphanumeric());
        tail.len() >= 2 * KEY_TAIL
            && tail.contains(|it: char| it.is_ascii_digit())
            && runs.map(str::len).max() >= Some(16)
    })
}

/// How many bytes of this keys may consist of.
fn key_length(rest: &str) -> usize {
    let end = rest.find(|it: char| !(it.is_ascii_alphanumeric() || "-_.".contains(it)));
    end.unwrap_or(rest.len())
}

/// `pat_` and what follows: the first eight characters stay.
fn cut_tokens(text: &str) -> Option<String> {
    replace_all(text, TOKEN_PREFIX, |rest, _| {
        let tail = rest.find(|character: char| {
            !(character.is_ascii_alphanumeric() || character == '_' || character == '-')
        });
        let tail = rest.get(..tail.unwrap_or(rest.len())).unwrap_or_default();
        // Names of files may begin so too, and have to be told as they are.
        let is_random = |run: &str| {
            let has = |kind: fn(&char) -> bool| run.chars().any(|it| kind(&it));
            let mixed = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase);
            (has(char::is_ascii_digit) && (mixed || run.len() >= 8)) || (mixed && run.len() >= 16)
        };
        let length = TOKEN_PREFIX.len() + tail.len();
        let shown = TOKEN_HINT_LENGTH - TOKEN_PREFIX.len();
        (length > TOKEN_HINT_LENGTH && (tail.len() >= 28 || tail.split(['_', '-']).any(is_random)))
            .then(|| Cutting { kept: shown, removed: length - TOKEN_HINT_LENGTH })
    })
}

/// `Bearer` and a word, unless the word only speaks about tokens.
fn cut_bearer(text: &str) -> Option<String> {
    replace_all(text, "bearer", |rest, _| {
        let value = rest.trim_start_matches([' ', '\t', ':', '=']);
        let kept = rest.len() - value.len();
        let end = value.find(|character: char| {
            !(character.is_ascii_alphanumeric() || "-._~+/=".contains(character))
        });
        let length = end.unwrap_or(value.len());
        let word = value.get(..length)?.trim_end_matches('.').to_ascii_lowercase();
        let talk = ["token", "tokens", "auth", "authentication", "authorization", "scheme"];
        (kept > 0 && length > 0 && !talk.contains(&word.as_str()) && !word.starts_with("pat_"))
            .then_some(Cutting { kept, removed: length })
    })
}

/// The values of query parameters that sign a URL or are credentials themselves.
fn cut_parameters(text: &str) -> Option<String> {
    replace_all(text, "=", |rest, before| {
        let name_start = before
            .rfind(|character: char| {
                !(character.is_ascii_alphanumeric() || "-_".contains(character))
            })
            .map_or(0, |at| {
                at + before.get(at..).and_then(|tail| tail.chars().next()).map_or(1, char::len_utf8)
            });
        let name = before.get(name_start..)?.to_ascii_lowercase();
        // JSON writers may spell `&` as `\u0026`, whose digits look like part of the name.
        let (name, escaped) = match name.strip_prefix("u0026") {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        let separator = before.get(..name_start)?.chars().next_back();
        let starts = matches!(separator, Some('?' | '&' | ';' | '#'))
            || (escaped && separator == Some('\\'));
        if !starts || !SECRET_PARAMETERS.contains(&name) {
            return None;
        }
        let end = rest.find(|character: char| {
            character.is_whitespace() || "&#\"'`<>)]}\\|".contains(character)
        });
        let removed = end.unwrap_or(rest.len());
        (removed > 0 && rest.get(..removed) != Some("…")).then_some(Cutting { kept: 0, removed })
    })
}

/// What stands between `://` and `@`.
fn cut_userinfo(text: &str) -> Option<String> {
    replace_all(text, "://", |rest, _| {
        let end = rest
            .find(|character: char| character.is_whitespace() || "/?#\\\"'`<>".contains(character));
        let authority = rest.get(..end.unwrap_or(rest.len()))?;
        let removed = authority.rfind('@')?;
        (removed > 0 && authority.get(..removed) != Some("…"))
            .then_some(Cutting { kept: 0, removed })
    })
}

/// What to do after a marker: keep so many bytes, put `…` for so many more.
struct Cutting {
    kept: usize,
    removed: usize,
}

/// Looks for a marker (ASCII, in any case but for the token's) and lets `judge` decide on what
/// follows it; `judge` also sees what stands before. `None` when nothing had to be cut.
fn replace_all(
    text: &str,
    marker: &str,
    judge: impl Fn(&str, &str) -> Option<Cutting>,
) -> Option<String> {
    // Lower case changes no positions in ASCII, and leaves all else alone.
    let lower = text.to_ascii_lowercase();
    let mut output = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = lower.get(at..)?.find(marker) {
        let after = at + found + marker.len();
        let (before, rest) = (text.get(..at + found)?, text.get(after..)?);
        at = after;
        if let Some(Cutting { kept, removed }) = judge(rest, before) {
            output.push_str(text.get(copied..after + kept)?);
            output.push(CUT);
            copied = after + kept + removed;
            at = copied;
        }
    }
    if copied == 0 {
        return None;
    }
    output.push_str(text.get(copied..)?);
    Some(output)
}

fn is_shown(character: char) -> bool {
    match character {
        '\n' | '\t' => true,
        // Soft hyphen, Arabic letter mark, Hangul fillers, Mongolian separators, zero-width and
        // direction marks, embeddings, isolates and invisible operators, byte order mark,
        // interlinear annotation, tags.
        '\u{ad}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => false,
        other => !other.is_control(),
    }
}

fn is_selector(character: char) -> bool {
    matches!(character, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Whether a variation selector has something to select. Emoji and symbols take the two that
/// choose between text and picture, ideographs take any; a run of selectors carries hidden data.
fn takes_selector(last: Option<char>, selector: char) -> bool {
    let Some(last) = last else {
        return false;
    };
    match last {
        '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' => true,
        '#'
        | '*'
        | '0'..='9'
        | '\u{a9}'
        | '\u{ae}'
        | '\u{203c}'..='\u{3299}'
        | '\u{1f000}'..='\u{1faff}' => matches!(selector, '\u{fe0e}' | '\u{fe0f}'),
        _ => false,
    }
}

/// What follows an escape sequence whose first character has been taken (ECMA-48, section 5).
fn after_escape(rest: std::str::Chars<'_>) -> std::str::Chars<'_> {
    let mut after = rest.clone();
    match after.next() {
        Some('[') => after_control_sequence(after),
        Some(']' | 'P' | 'X' | '^' | '_') => after_string(after),
        Some(' '..='/') => {
            let mut further = after.clone();
            while let Some(character) = further.next() {
                match character {
                    ' '..='/' => after = further.clone(),
                    '0'..='~' => return further,
                    _ => return after,
                }
            }
            after
        }
        Some('0'..='~') => after,
        _ => rest,
    }
}

/// What follows a control sequence: parameters, intermediates, one final character.
fn after_control_sequence(rest: std::str::Chars<'_>) -> std::str::Chars<'_> {
    let mut after = rest.clone();
    while let Some(character) = after.next() {
        match character {
            '0'..='?' | ' '..='/' => {}
            '@'..='~' => return after,
            // Malformed: only the introducer goes, the text stays to be seen.
            _ => return rest,
        }
    }
    rest
}

/// What follows a control string, which ends with BEL or ST. One that never ends keeps its text,
/// so that nobody can hide the remainder of a message.
fn after_string(rest: std::str::Chars<'_>) -> std::str::Chars<'_> {
    let mut after = rest.clone();
    while let Some(character) = after.next() {
        match character {
            '\u{7}' | '\u{9c}' => return after,
            ESCAPE if after.as_str().starts_with('\\') => {
                after.next();
                return after;
            }
            _ => {}
        }
    }
    rest
}

const TOKEN_PREFIX: &str = "pat_";
const MIN_SECRET: usize = 8;
const CUT: char = '…';
const REMOVED: &str = "[removed]";
const ESCAPE: char = '\u{1b}';

/// In lower case. `upload_id` alone lets its holder write into a resumable upload session.
const SECRET_PARAMETERS: [&str; 15] = [
    "x-goog-signature",
    "x-goog-credential",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "signature",
    "sig",
    "token",
    "access_token",
    "refresh_token",
    "api_key",
    "key",
    "upload_id",
    "policy",
    "key-pair-id",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "pat_Zq7Xw2Lm9Rt4Bn6Vc1Ks8Hd3Jf5Gp0Ty";

    fn redact(text: &str) -> String {
        Redactor::new().redact(text).into_owned()
    }

    #[test]
    fn each_rule_cuts_its_secret_and_nothing_else() {
        for (text, expected) in [
            ("nothing here", "nothing here"),
            (TOKEN, "pat_Zq7X…"),
            ("token=pat_Zq7Xw2Lm9Rt4 next", "token=pat_Zq7X… next"),
            ("xpat_Zq7X-w2Lm_9Rt4\"", "xpat_Zq7X…\""),
            ("pat_ alone, pat_abcd too", "pat_ alone, pat_abcd too"),
            ("art/pat_idle_animation_01.png", "art/pat_idle_animation_01.png"),
            ("pat_abcdefghijklmNOPQRSTuvwxyz", "pat_abcd…"),
            ("Authorization: Bearer abc.def-123==", "Authorization: Bearer …"),
            ("authorization: bearer\tAbC", "authorization: bearer\t…"),
            ("Bearer pat_Zq7Xw2Lm9Rt4", "Bearer pat_Zq7X…"),
            ("the bearer token is missing", "the bearer token is missing"),
            ("forbearers", "forbearers"),
            (
                "https://storage.googleapis.com/b/o?X-Goog-Expires=9&X-Goog-Signature=ab12&x=1",
                "https://storage.googleapis.com/b/o?X-Goog-Expires=9&X-Goog-Signature=…&x=1",
            ),
            (r"{\u0026X-Goog-Credential=me%2F1\u0026x=1}", r"{\u0026X-Goog-Credential=…\u0026x=1}"),
            ("a?SIG=abc#f", "a?SIG=…#f"),
            ("<a href='u?a=1&amp;token=abc'>", "<a href='u?a=1&amp;token=…'>"),
            ("key=value and monkey=1", "key=value and monkey=1"),
            ("?monkey=1&keys=2", "?monkey=1&keys=2"),
            ("https://me:secret@host/p", "https://…@host/p"),
            ("socks5://me@proxy:1080", "socks5://…@proxy:1080"),
            ("https://host/p@q", "https://host/p@q"),
            ("https://a:b@c@host/", "https://…@host/"),
            ("ütf8 ✓ pat_Zq7Xw2Lm9Rt4é", "ütf8 ✓ pat_Zq7X…é"),
        ] {
            assert_eq!(redact(text), expected);
            assert_eq!(redact(expected), expected, "twice");
        }
    }

    #[test]
    fn registered_secrets_are_found_in_every_spelling() {
        let secret = "corrëct \"horse\"/battery+staple";
        let redactor = Redactor::new();
        redactor.register(secret);
        redactor.register(secret);
        redactor.register("short");
        assert_eq!(redactor.redact("a short word"), "a short word");
        let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut spelled = vec![
            secret.to_owned(),
            serde_json::json!({ "p": secret }).to_string(),
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
            hexadecimal.to_uppercase(),
            hexadecimal,
        ];
        for before in ["", "x", "xy", "xyz"] {
            spelled.push(STANDARD_NO_PAD.encode(format!("{before}{secret}z")));
            spelled.push(URL_SAFE_NO_PAD.encode(format!("{before}{secret}")));
        }
        for text in spelled {
            let shown = redactor.redact(&text).into_owned();
            assert!(shown.contains(REMOVED), "{text} became {shown}");
            assert!(shown.len() < REMOVED.len() + 14, "{text} became {shown}");
        }
        assert_eq!(format!("{redactor:?}"), "Redactor(...)");
        redactor.register(TOKEN);
        assert_eq!(redactor.clone().redact(TOKEN), "pat_Zq7X…");
        let encoded = STANDARD_NO_PAD.encode(TOKEN);
        assert!(redactor.redact(&encoded).starts_with(REMOVED));
    }

    #[test]
    fn cleaning_removes_what_cannot_be_seen() {
        for (text, expected) in [
            ("plain\ttext\nhere", "plain\ttext\nhere"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]52;c;aGVsbG8=\u{7}after", "after"),
            ("\u{1b}]8;;https://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}(Bx\u{1b}cy", "xy"),
            ("\u{9b}2Jx\u{9d}0;title\u{9c}y", "xy"),
            ("\u{1b}]52;never ends", "52;never ends"),
            ("\u{1b}[12\nkept", "12\nkept"),
            ("\u{1b}", ""),
            ("a\r\nb\u{0}\u{8}\u{7f}\u{85}c", "a\nbc"),
            ("a\u{2028}b", "a\nb"),
            ("ig\u{200b}no\u{200d}re\u{202e}\u{2066}\u{feff}\u{ad}\u{61c}\u{180e}", "ignore"),
            ("x\u{e0041}\u{e0042}\u{e007f}y", "xy"),
            ("a\u{fe0f}\u{e0101}b", "ab"),
            ("\u{2764}\u{fe0f}\u{fe0f}", "\u{2764}\u{fe0f}"),
            ("葛\u{e0100}", "葛\u{e0100}"),
            ("Ünïcödé ✓ 日本", "Ünïcödé ✓ 日本"),
        ] {
            assert_eq!(clean(text, 100), expected);
        }
        assert_eq!(clean("abcdef", 6), "abcdef");
        assert_eq!(clean("abcdefg", 6), "abcde…");
        assert_eq!(clean("abc", 0), "");
        assert_eq!(clean_line("a\nb\tc", 10), "a b c");
    }

    proptest! {
        #[test]
        fn no_part_of_a_token_beyond_its_hint_is_left(
            before in "\\PC{0,20}", after in "\\PC{0,20}", body in "[A-Za-z0-9_]{28,60}",
        ) {
            let token = format!("pat_{body}");
            let shown = redact(&format!("{before}{token} {after}"));
            for start in 0..token.len() - 9 {
                if let Some(window) = token.get(start..start + 9)
                    && !before.contains(window) && !after.contains(window)
                {
                    prop_assert!(!shown.contains(window), "{shown}");
                }
            }
        }

        #[test]
        fn redacting_and_cleaning_never_panic_and_settle(text in any::<String>(), most in 0_usize..50) {
            let once = redact(&text);
            prop_assert_eq!(redact(&once), once.clone());
            let cleaned = clean(&text, most);
            prop_assert!(cleaned.chars().count() <= most);
            prop_assert_eq!(clean(&cleaned, most), cleaned.clone());
        }

        #[test]
        fn escape_soup_is_cleaned_for_good(text in "[\u{1b}\\[\\]\u{9b}\u{9d}\u{7}\\\\;0-9mP a-c@?:/=&\u{fe0f}#]{0,40}") {
            let cleaned = clean(&text, 100);
            prop_assert!(!cleaned.chars().any(|character| character.is_control()));
            prop_assert_eq!(clean(&cleaned, 100), cleaned.clone());
            let once = redact(&text);
            prop_assert_eq!(redact(&once), once.clone());
        }
    }
}
