//! Text in columns and lines that fit a window.
//!
//! Without a window (a pipe, a file) nothing is cut or broken. In one, columns shrink; where even
//! the narrowest don't fit, each row becomes a few lines.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::theme::{Line, Tone};

/// How many columns of a terminal a text takes: wide letters, such as those of Chinese and most
/// pictograms, take two.
pub(super) fn columns(text: &str) -> usize {
    text.width()
}

fn columns_of(letter: char) -> usize {
    letter.width().unwrap_or(0)
}

/// The beginning of a text, as far as it fits; what is cut away is a `…`.
fn cut(text: &str, most: usize) -> String {
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
fn cut_front(text: &str, most: usize) -> String {
    let turned: String = text.chars().rev().collect();
    cut(&turned, most).chars().rev().collect()
}

/// The text with spaces behind it, up to this many columns.
fn left(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// The text with spaces before it, up to this many columns.
fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(columns(text))))
}

/// The text in lines of at most so many columns, broken at spaces. What stands in backticks is to
/// be copied, so it stays on one line where it can; a longer word is broken where the line ends.
pub(super) fn wrap(text: &str, most: usize) -> Vec<String> {
    lines_of(text, most, true)
}

/// The same, with longer words left whole: what the terminal breaks, such as a path, is still
/// copied in one piece.
pub(super) fn wrap_words(text: &str, most: usize) -> Vec<String> {
    lines_of(text, most, false)
}

fn lines_of(text: &str, most: usize, break_words: bool) -> Vec<String> {
    let most = most.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in words(text, most) {
        let gap = usize::from(!line.is_empty());
        if columns(&line) + gap + columns(word) <= most {
            if gap == 1 {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for letter in word.chars() {
            if break_words && !line.is_empty() && columns(&line) + columns_of(letter) > most {
                lines.push(std::mem::take(&mut line));
            }
            line.push(letter);
        }
    }
    lines.push(line);
    lines
}

/// The words of a text; what stands in backticks is one, unless it is too long for a line.
fn words(text: &str, most: usize) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let mut quoted = false;
        let end = |letter: char| {
            quoted ^= letter == '`';
            letter == ' ' && !quoted
        };
        let whole = rest.find(end).unwrap_or(rest.len());
        let at = match rest.get(..whole) {
            Some(word) if columns(word) <= most => whole,
            _ => rest.find(' ').unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(at);
        found.push(word);
        rest = after.trim_start();
    }
    found
}

/// What becomes of a column that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Stays: to be copied, or short.
    Whole,
    /// Stays, on the right side of the column.
    Number,
    /// Loses its end, down to this many columns.
    Cut(usize),
    /// Loses its beginning, down to this many columns.
    CutFront(usize),
    /// Goes on in the next line, with at least this many columns. The last column alone.
    Wrap(usize),
}

impl Fit {
    fn least(self) -> Option<usize> {
        match self {
            Self::Whole | Self::Number => None,
            Self::Cut(least) | Self::CutFront(least) | Self::Wrap(least) => Some(least),
        }
    }
}

/// A row of cells, and lines that belong to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    cells: Vec<(Tone, String)>,
    below: Vec<(Tone, String)>,
}

impl Row {
    /// A row of such cells.
    pub(super) fn new(cells: impl IntoIterator<Item = (Tone, String)>) -> Self {
        Self { cells: cells.into_iter().collect(), below: Vec::new() }
    }

    /// With a line below it that is never cut.
    pub(super) fn below(&mut self, tone: Tone, text: String) {
        self.below.push((tone, text));
    }
}

/// Rows of cells under each other.
#[derive(Clone, Debug)]
pub(super) struct Table {
    fits: Vec<Fit>,
    /// Above the columns; beside each cell where there is no room for columns.
    names: Option<Vec<&'static str>>,
    rows: Vec<Row>,
}

/// Between two columns.
const GAP: usize = 2;
/// Before a line that belongs to the one above it.
const INDENT: &str = "    ";

impl Table {
    /// An empty table with columns of these kinds.
    pub(super) fn new(fits: impl Into<Vec<Fit>>) -> Self {
        Self { fits: fits.into(), names: None, rows: Vec::new() }
    }

    /// With these names above the columns.
    pub(super) fn named(mut self, names: impl Into<Vec<&'static str>>) -> Self {
        self.names = Some(names.into());
        self
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The lines of the table in so many columns; whole where there is no end to them.
    pub(super) fn lines(&self, room: Option<usize>) -> Vec<Line> {
        let natural = self.natural();
        match room.map(|room| self.shrunk(&natural, room)) {
            None => self.in_columns(&natural),
            Some(Some(widths)) => self.in_columns(&widths),
            Some(None) => self.in_paragraphs(room.unwrap_or(usize::MAX).max(1)),
        }
    }

    fn natural(&self) -> Vec<usize> {
        let of = |index: usize| {
            let name = self.names.as_ref().and_then(|names| names.get(index));
            let cells = self.rows.iter().filter_map(|row| row.cells.get(index));
            let widths = cells.map(|(_, text)| columns(text));
            widths.chain(name.map(|name| columns(name))).max().unwrap_or(0)
        };
        (0..self.fits.len()).map(of).collect()
    }

    /// Widths that fit, the widest columns giving way first; none where nothing fits.
    fn shrunk(&self, natural: &[usize], room: usize) -> Option<Vec<usize>> {
        let mut widths = natural.to_vec();
        let gaps = GAP * widths.len().saturating_sub(1);
        loop {
            if widths.iter().sum::<usize>() + gaps <= room {
                return Some(widths);
            }
            let gives = widths
                .iter_mut()
                .zip(&self.fits)
                .filter(|(width, fit)| fit.least().is_some_and(|least| **width > least.max(1)));
            *gives.max_by_key(|(width, _)| **width)?.0 -= 1;
        }
    }

    fn in_columns(&self, widths: &[usize]) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Some(names) = &self.names {
            let cells = names.iter().map(|name| (Tone::Strong, (*name).to_owned()));
            lines.extend(self.row(&Row::new(cells), widths));
        }
        for row in &self.rows {
            lines.extend(self.row(row, widths));
            lines.extend(below(row));
        }
        lines
    }

    fn row(&self, row: &Row, widths: &[usize]) -> Vec<Line> {
        let mut line = Line::new();
        let mut more = Vec::new();
        let mut begin = 0;
        for (index, ((tone, text), (fit, width))) in
            row.cells.iter().zip(self.fits.iter().zip(widths)).enumerate()
        {
            if index > 0 {
                line = line.with(Tone::Plain, " ".repeat(GAP));
                begin += GAP;
            }
            let text = match fit {
                Fit::Whole => left(text, *width),
                Fit::Number => right(text, *width),
                Fit::Cut(_) => left(&cut(text, *width), *width),
                Fit::CutFront(_) => left(&cut_front(text, *width), *width),
                Fit::Wrap(_) if columns(text) <= *width => text.clone(),
                Fit::Wrap(_) => {
                    let mut wrapped = wrap(text, *width).into_iter();
                    let first = wrapped.next().unwrap_or_default();
                    more.extend(wrapped.map(|text| {
                        Line::new().with(Tone::Plain, " ".repeat(begin)).with(*tone, text)
                    }));
                    first
                }
            };
            line = line.with(*tone, text);
            begin += width;
        }
        std::iter::once(line).chain(more).collect()
    }

    /// Each row as a paragraph: cell after cell, with their names where they have such.
    fn in_paragraphs(&self, room: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        for row in &self.rows {
            let mut line = Line::new();
            let mut taken = 0;
            for (index, (tone, text)) in row.cells.iter().enumerate() {
                let name = self.names.as_ref().and_then(|names| names.get(index));
                let text = match name {
                    Some(name) if index > 0 => format!("{name} {text}"),
                    _ => text.clone(),
                };
                if text.is_empty() {
                    continue;
                }
                if taken > 0 && taken + GAP + columns(&text) <= room {
                    line = line.with(Tone::Plain, " ".repeat(GAP)).with(*tone, &*text);
                    taken += GAP + columns(&text);
                    continue;
                }
                if taken > 0 {
                    lines.push(std::mem::take(&mut line));
                }
                let indent = if index == 0 { "" } else { INDENT };
                let mut pieces = wrap(&text, room.saturating_sub(indent.len())).into_iter();
                let last = pieces.next_back().unwrap_or_default();
                lines.extend(pieces.map(|text| Line::from(indent).with(*tone, text)));
                taken = indent.len() + columns(&last);
                line = Line::from(indent).with(*tone, last);
            }
            lines.push(line);
            lines.extend(below(row));
        }
        lines
    }
}

/// The lines that belong to a row, whole in any window: paths in them are to be copied.
fn below(row: &Row) -> impl Iterator<Item = Line> {
    row.below.iter().map(|(tone, text)| Line::from(INDENT).with(*tone, text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(lines: &[Line]) -> Vec<String> {
        lines.iter().map(Line::plain).collect()
    }

    fn row(cells: &[&str]) -> Row {
        Row::new(cells.iter().map(|text| (Tone::Plain, (*text).to_owned())))
    }

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
        // An accent of its own takes no column.
        assert_eq!(columns("e\u{301}"), 1);
    }

    #[test]
    fn lines_break_at_spaces_and_not_in_commands() {
        assert_eq!(wrap("run `layer-mcp jobs` now", 16), ["run", "`layer-mcp jobs`", "now"]);
        assert_eq!(wrap("`layer-mcp jobs --collect`", 10), ["`layer-mcp", "jobs", "--collect`"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap_words("see abcdefgh now", 5), ["see", "abcdefgh", "now"]);
        assert_eq!(wrap("a ` b", 3), ["a", "` b"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("騎士の剣", 4), ["騎士", "の剣"]);
    }

    #[test]
    fn a_table_shrinks_and_then_becomes_paragraphs() {
        let mut table = Table::new([Fit::Whole, Fit::Number, Fit::Cut(6)]);
        let mut knight = row(&["2026-01-01", "2.5", "a pixel-art knight"]);
        knight.below(Tone::Plain, "/out/a very long folder/knight.png".to_owned());
        table.push(knight);
        table.push(row(&["2026-01-02", "12", "a cup"]));
        assert_eq!(
            plain(&table.lines(None)),
            [
                "2026-01-01  2.5  a pixel-art knight",
                "    /out/a very long folder/knight.png",
                "2026-01-02   12  a cup",
            ]
        );
        assert_eq!(
            plain(&table.lines(Some(25))),
            [
                "2026-01-01  2.5  a pixel…",
                "    /out/a very long folder/knight.png",
                "2026-01-02   12  a cup",
            ]
        );
        assert_eq!(
            plain(&table.lines(Some(20))),
            [
                "2026-01-01  2.5",
                "    a pixel-art",
                "    knight",
                "    /out/a very long folder/knight.png",
                "2026-01-02  12",
                "    a cup",
            ]
        );
    }

    #[test]
    fn names_stand_above_or_beside() {
        let mut table = Table::new([Fit::CutFront(8), Fit::Number]).named(["day", "charged CU"]);
        table.push(row(&["2026-01-01", "2.5"]));
        assert_eq!(
            plain(&table.lines(Some(40))),
            ["day         charged CU", "2026-01-01         2.5"]
        );
        assert_eq!(plain(&table.lines(Some(15))), ["2026-01-01", "    charged CU", "    2.5"]);
    }

    #[test]
    fn a_text_goes_on_below_itself() {
        let mut table = Table::new([Fit::Whole, Fit::Wrap(6)]);
        table.push(row(&["ok", "all is well here"]));
        assert_eq!(plain(&table.lines(Some(12))), ["ok  all is", "    well", "    here"]);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_window(
            cells in prop::collection::vec("[a-z 騎`é]{0,30}", 4),
            room in 6usize..120,
        ) {
            let fits = [Fit::Whole, Fit::Number, Fit::CutFront(4), Fit::Wrap(8)];
            for table in [Table::new(fits), Table::new(fits).named(["a", "bb", "騎", "d"])] {
                let mut table = table;
                table.push(row(&cells.iter().map(String::as_str).collect::<Vec<_>>()));
                for line in table.lines(Some(room)) {
                    prop_assert!(columns(&line.plain()) <= room, "{line:?}");
                }
            }
        }
    }
}
