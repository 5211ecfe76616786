//! A name made of a prompt.

use unicode_normalization::UnicodeNormalization;

use super::path::{is_device, is_unprintable};

/// A file stem made of a prompt: lower case, words joined by `-`, accents of Latin letters
/// dropped, letters of other scripts kept, at most 40 characters and 80 bytes.
///
/// Never empty (`asset` then), never a Windows device name, never with a leading or trailing
/// dash, and a slug's slug is itself.
#[must_use]
pub fn slug(prompt: &str) -> String {
    const MOST_CHARS: usize = 40;
    const MOST_BYTES: usize = 80;
    const SHORTEST_CUT: usize = 16;

    let folded: String = prompt.nfkc().flat_map(char::to_lowercase).collect();
    let folded: String = folded.nfkd().filter(|c| !is_latin_accent(*c)).collect();
    let mut text = String::new();
    let mut chars = 0;
    for c in folded.nfc() {
        let joins = unicode_normalization::char::is_combining_mark(c);
        let keeps = !is_unprintable(c) && (c.is_alphanumeric() || (joins && !text.is_empty()));
        let c = if keeps { c } else { '-' };
        if c == '-' && (text.is_empty() || text.ends_with('-')) {
            continue;
        }
        if chars == MOST_CHARS || text.len() + c.len_utf8() > MOST_BYTES {
            // Cut between words where that leaves something to recognise.
            if c != '-'
                && let Some((head, _)) = text.rsplit_once('-')
                && head.chars().count() >= SHORTEST_CUT
            {
                text.truncate(head.len());
            }
            break;
        }
        text.push(c);
        chars += 1;
    }
    let text = text.trim_matches('-');
    if text.is_empty() {
        "asset".to_owned()
    } else if is_device(text) {
        format!("asset-{text}")
    } else {
        text.to_owned()
    }
}

const fn is_latin_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_read_like_the_prompt() {
        let table = [
            ("A brave Knight, 16-bit!", "a-brave-knight-16-bit"),
            ("", "asset"),
            ("   ...   ", "asset"),
            ("../../etc/passwd", "etc-passwd"),
            ("CON", "asset-con"),
            ("com1", "asset-com1"),
            ("Café Größe Ærø", "cafe-große-ærø"),
            ("騎士の剣", "騎士の剣"),
            ("рыцарь", "рыцарь"),
            ("a\u{202e}b\u{0}c", "a-b-c"),
            ("-rf ~", "rf"),
            ("ＦＵＬＬ　ｗｉｄｔｈ", "full-width"),
            (
                "an isometric medieval blacksmith shop with glowing forge",
                "an-isometric-medieval-blacksmith-shop",
            ),
        ];
        for (prompt, wanted) in table {
            assert_eq!(slug(prompt), wanted, "{prompt:?}");
        }
    }
}
