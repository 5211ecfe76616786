//! Columns of text on a terminal.

/// How many columns of a terminal a text takes: wide letters, such as those of Chinese and most
/// pictograms, take two.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(letter: char) -> usize {
    let wide = matches!(letter,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}');
    if wide { 2 } else { 1 }
}

/// The beginning of a text, as far as it fits; what is cut away is a `…`.
pub(super) fn cut(text: &str, most: usize) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let mut room = most.saturating_sub(1);
    let fits = |letter: &char| {
        let left = room.checked_sub(columns_of(*letter));
        room = left.unwrap_or(0);
        left.is_some()
    };
    text.chars().take_while(fits).chain((most > 0).then_some('…')).collect()
}

/// The end of a text, as far as it fits: of a path, the file's name says most.
pub(super) fn cut_front(text: &str, most: usize) -> String {
    let turned: String = text.chars().rev().collect();
    cut(&turned, most).chars().rev().collect()
}

/// The text with spaces behind it, up to this many columns.
pub(super) fn left(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// The text with spaces before it, up to this many columns.
pub(super) fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(columns(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_where_the_column_ends() {
        assert_eq!(cut("knight", 6), "knight");
        assert_eq!(cut("knight", 5), "knig…");
        assert_eq!(cut("騎士の剣", 8), "騎士の剣");
        assert_eq!(cut("騎士の剣", 6), "騎士…");
        assert_eq!(cut("knight", 1), "…");
        assert_eq!(cut("knight", 0), "");
        assert_eq!(cut_front("/out/knight.png", 11), "…knight.png");
        assert_eq!(left("剣", 4), "剣  ");
        assert_eq!(right("剣", 4), "  剣");
        assert_eq!(left("knight", 2), "knight");
    }
}
