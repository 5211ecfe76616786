//! Things of games, drawn as left halves of sixteen by sixteen cells, and creatures that are made
//! up. `X` is the outline, `a` and `b` the main colour and its light, `c` and `d` the second
//! colour and its shade, `w` nearly white.

use super::Chance;

/// One cell of a sprite.
pub(super) type Cell = u8;
pub(super) const EMPTY: Cell = b'.';
pub(super) const SIDE: usize = 16;
const HALF: usize = SIDE / 2;

/// A sprite of `SIDE` rows.
pub(super) type Sprite = Vec<[Cell; SIDE]>;

/// The sprite for a prompt: the first thing that it names, or a creature.
pub(super) fn for_prompt(prompt: &str, chance: &mut Chance) -> Sprite {
    let lower = prompt.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    for word in words {
        let known = THINGS.iter().find(|(names, _)| {
            names.iter().any(|name| word == *name || word.strip_suffix('s') == Some(name))
        });
        if let Some((_, rows)) = known {
            return rows.iter().map(|row| mirrored(row)).collect();
        }
    }
    creature(chance)
}

fn mirrored(half: &str) -> [Cell; SIDE] {
    let mut row = [EMPTY; SIDE];
    for (cell, value) in row.iter_mut().zip(half.bytes().chain(half.bytes().rev())) {
        *cell = value;
    }
    row
}

/// A symmetrical little monster: a noisy body, an outline, two eyes.
fn creature(chance: &mut Chance) -> Sprite {
    let (wide, high) = (chance.between(4.8, 7.0), chance.between(5.0, 6.6));
    let spots = chance.share() < 0.5;
    let mut body = [[false; HALF]; SIDE];
    for (y, row) in body.iter_mut().enumerate() {
        for (x, cell) in row.iter_mut().enumerate() {
            let across = (HALF as f64 - x as f64 - 0.5) / wide;
            let down = (y as f64 - 8.0) / high;
            *cell = across.hypot(down) < chance.between(0.88, 1.06);
        }
    }
    for part in [horn(chance), foot(chance)] {
        for (x, y) in part {
            if let Some(cell) = body.get_mut(y).and_then(|row| row.get_mut(x)) {
                *cell = true;
            }
        }
    }
    let is_body = |x: usize, y: usize| {
        let x = if x < HALF { x } else { SIDE - 1 - x };
        body.get(y).and_then(|row| row.get(x)).copied().unwrap_or(false)
    };
    let eye = (4 + chance.below(2) as usize, 6 + chance.below(2) as usize);
    let mouth = 10 + chance.below(2) as usize;
    (0..SIDE)
        .map(|y| {
            let mut row = [EMPTY; SIDE];
            for (x, cell) in row.iter_mut().enumerate() {
                let half = x.min(SIDE - 1 - x);
                let around =
                    [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
                let inner = around.iter().all(|(x, y)| *x < SIDE && is_body(*x, *y));
                *cell = match is_body(x, y) {
                    false => EMPTY,
                    true if !inner => b'X',
                    true if half == eye.0 && (y == eye.1 || y == eye.1 + 1) => {
                        if y == eye.1 {
                            b'w'
                        } else {
                            b'X'
                        }
                    }
                    true if half == eye.0 + 1 && (y == eye.1 || y == eye.1 + 1) => b'w',
                    true if y == mouth && half >= HALF - 2 => b'X',
                    true if y < 5 => b'b',
                    true if y > 10 && half > 4 => b'c',
                    true if spots && (x * 7 + y * 5) % 11 == 0 => b'd',
                    true => b'a',
                };
            }
            row
        })
        .collect()
}

/// Cells of a horn or an ear, or none.
fn horn(chance: &mut Chance) -> Vec<(usize, usize)> {
    let x = 3 + chance.below(3) as usize;
    match chance.below(3) {
        0 => Vec::new(),
        1 => vec![(x, 0), (x, 1), (x, 2), (x, 3), (x + 1, 2), (x + 1, 3), (x + 1, 4)],
        _ => vec![
            (x - 1, 1),
            (x, 1),
            (x - 1, 2),
            (x, 2),
            (x + 1, 2),
            (x - 1, 3),
            (x, 3),
            (x + 1, 3),
            (x, 4),
            (x + 1, 4),
        ],
    }
}

fn foot(chance: &mut Chance) -> Vec<(usize, usize)> {
    let x = 3 + chance.below(2) as usize;
    (13..15).flat_map(|y| (x..x + 3).map(move |x| (x, y))).collect()
}

/// The names of a thing, and its left half.
type Thing = (&'static [&'static str], [&'static str; SIDE]);

#[rustfmt::skip]
const THINGS: &[Thing] = &[
    (&["potion", "bottle", "flask", "elixir", "vial"], [
        ".....XXX", ".....Xcc", ".....Xcc", "......XX", "......Xw", "......Xw", ".....Xww", "....Xwww",
        "...Xwwbb", "..Xwbbaa", ".Xwbaaaa", ".Xbaaaaa", ".Xbaaaaa", ".Xaaaaaa", "..Xaaaaa", "...XXXXX",
    ]),
    (&["gem", "crystal", "diamond", "ruby", "emerald", "sapphire", "jewel"], [
        "........", "........", "...XXXXX", "..Xbbbaa", ".Xbbbaaa", "Xbbbaaaa", "XXXXXXXX", "Xbbbaaaa",
        ".Xbbaaaa", "..Xbbaaa", "...Xbaaa", "....Xbaa", ".....Xba", "......Xa", ".......X", "........",
    ]),
    (&["heart", "life", "love"], [
        "........", "..XXXX..", ".XbbaaX.", "XbbaaaaX", "XbwaaaaX", "Xbaaaaaa", "Xbaaaaaa", "Xaaaaaaa",
        ".Xaaaaaa", "..Xaaaaa", "...Xaaaa", "....Xaaa", ".....Xaa", "......Xa", ".......X", "........",
    ]),
    (&["sword", "blade", "dagger", "weapon"], [
        ".......X", "......Xw", "......Xw", "......Xw", "......Xw", "......Xw", "......Xw", "......Xw",
        "......Xw", "..XX..Xw", ".XcaXXXw", "..Xaaaaa", "...XXXXX", "......Xd", "......Xd", ".....XXX",
    ]),
    (&["shield", "armor", "armour"], [
        ".XXXXXXX", "Xccccccd", "Xcbbbbbd", "Xcbaaaad", "Xcbaaaad", "Xcbaaadd", "Xcbadddd", "Xcbaaadd",
        "Xcbaaaad", "Xcbaaaad", ".Xcbaaad", ".Xcbaaad", "..Xcbaad", "...Xcbad", "....Xccc", ".....XXX",
    ]),
    (&["crown", "king", "queen"], [
        "........", "........", ".......X", "......Xw", "X.....Xa", "XX...Xaa", "XaX..Xaa", "XaaXXaaa",
        "Xbaaaaaa", "Xbaaaaaa", "Xbaaccaa", "Xbaaccaa", "Xaaaaaaa", "Xddddddd", "XXXXXXXX", "........",
    ]),
    (&["coin", "gold", "money", "token"], [
        ".....XXX", "...XXbbb", "..Xbbaaa", ".Xbaaaaa", ".Xbaaadd", "Xbaaaddd", "Xbaadddd", "Xbaadddd",
        "Xbaadddd", "Xbaadddd", "Xbaaaddd", ".Xbaaadd", ".Xbaaaaa", "..Xbaaaa", "...XXaaa", ".....XXX",
    ]),
    (&["mushroom", "toadstool", "fungus"], [
        "........", ".....XXX", "...XXaaa", "..Xaawwa", ".Xaaawwa", ".Xaaaaaa", "Xawwaaaa", "Xawwaaaw",
        "Xaaaaaww", "Xaaaaaaa", ".XXXXXXX", "...Xwwww", "...Xwwcc", "...Xwwww", "....Xwww", "....XXXX",
    ]),
    (&["tree", "pine", "forest", "plant"], [
        "......XX", ".....Xba", "....Xbaa", "...Xbbaa", "....Xaaa", "...Xbaaa", "..Xbbaaa", ".Xbbaaaa",
        "...Xbaaa", "..Xbaaaa", ".Xbbaaaa", "Xbbbaaaa", "XXXXXXXX", "......Xd", "......Xd", "......XX",
    ]),
    (&["rocket", "spaceship", "ship", "spacecraft"], [
        ".......X", "......Xw", ".....Xww", ".....Xww", "....Xwww", "....Xwcc", "....Xwcc", "....Xwww",
        "....Xwww", "...XXwww", "..XaXwww", ".XaaXwww", ".XaaXwww", ".XaXXXXX", ".XX..Xdb", "......Xd",
    ]),
    (&["star", "magic", "spark"], [
        ".......X", "......Xb", "......Xb", ".....Xbb", "XXXXXXba", "Xbbbbbaa", ".Xbbaaaa", "..Xbaaaa",
        "...Xbaaa", "...Xbaaa", "..Xbaaaa", "..Xbaaaa", ".XbaaaXX", ".XaaXX..", ".XXX....", "........",
    ]),
    (&["skull", "skeleton", "death"], [
        "........", "...XXXXX", "..Xwwwww", ".Xwwwwww", ".Xwwwwww", ".XwXXXww", ".XwXXXww", ".XwXXXwX",
        ".XwwwwwX", "..Xwwwww", "...Xwwww", "...XwXwX", "...XwXwX", "....XXXX", "........", "........",
    ]),
    (&["chest", "treasure", "box", "crate"], [
        "........", "........", "..XXXXXX", ".Xbbbbbb", "Xbbaaaaa", "Xbaaaaaa", "Xbaaaaaa", "XXXXXXXX",
        "XdddddXc", "XaaaaaXc", "XbaaaaXX", "Xbaaaaaa", "Xbaaaaaa", "Xbaaaaaa", "XXXXXXXX", "........",
    ]),
    (&["key"], [
        "....XXXX", "...Xbbbb", "..XbaXXX", "..XbaX..", "..XbaX..", "..XbaXXX", "...Xbaaa", "....XXba",
        "......Xb", "......Xb", "......Xb", "......Xb", "...XXXXb", "...Xbaab", "...XXXXb", "......XX",
    ]),
];
