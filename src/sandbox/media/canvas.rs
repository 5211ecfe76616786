//! A small picture that is drawn cell by cell, and enlarged without smoothing.

/// Red, green, blue, alpha.
pub(super) type Colour = [u8; 4];

/// Cells of colour, row by row.
#[derive(Clone, Debug)]
pub(super) struct Canvas {
    pub(super) width: u32,
    pub(super) height: u32,
    cells: Vec<Colour>,
}

impl Canvas {
    /// All of it transparent.
    pub(super) fn new(width: u32, height: u32) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        let count = width as usize * height as usize;
        Self { width, height, cells: vec![[0; 4]; count] }
    }

    /// Paints every cell.
    pub(super) fn paint(&mut self, mut colour: impl FnMut(u32, u32) -> Colour) {
        let width = self.width as usize;
        for (y, row) in (0..).zip(self.cells.chunks_exact_mut(width)) {
            for (x, cell) in (0..).zip(row) {
                *cell = colour(x, y);
            }
        }
    }

    /// Paints a rectangle, as far as it lies on the canvas.
    pub(super) fn rectangle(&mut self, left: i64, top: i64, side: i64, colour: Colour) {
        for y in top..top + side {
            for x in left..left + side {
                self.put(x, y, colour);
            }
        }
    }

    pub(super) fn put(&mut self, x: i64, y: i64, colour: Colour) {
        self.blend(x, y, colour, 1.0);
    }

    /// Brings a cell that much nearer to a colour.
    pub(super) fn blend(&mut self, x: i64, y: i64, colour: Colour, share: f64) {
        let inside =
            (0..i64::from(self.width)).contains(&x) && (0..i64::from(self.height)).contains(&y);
        if inside && let Some(cell) = self.cells.get_mut((y * i64::from(self.width) + x) as usize) {
            *cell = mix(*cell, colour, share);
        }
    }

    /// The pixels of the canvas enlarged to the given size, `CHANNELS` bytes each.
    pub(super) fn pixels<const CHANNELS: usize>(&self, width: u32, height: u32) -> Vec<u8> {
        let columns: Vec<usize> = (0..u64::from(width))
            .map(|x| (x * u64::from(self.width) / u64::from(width.max(1))) as usize)
            .collect();
        let row_bytes = columns.len() * CHANNELS;
        let mut pixels = Vec::with_capacity(row_bytes * height as usize);
        let mut drawn = None;
        for y in 0..u64::from(height) {
            let row = (y * u64::from(self.height) / u64::from(height.max(1))) as usize;
            if drawn == Some(row) {
                pixels.extend_from_within(pixels.len() - row_bytes..);
                continue;
            }
            drawn = Some(row);
            let start = row * self.width as usize;
            let cells = self.cells.get(start..start + self.width as usize).unwrap_or_default();
            for column in &columns {
                let cell = cells.get(*column).copied().unwrap_or_default();
                pixels.extend(cell.iter().take(CHANNELS));
            }
        }
        pixels
    }
}

/// A colour by hue in degrees, saturation and lightness from 0 to 1.
pub(super) fn hsl(hue: f64, saturation: f64, lightness: f64) -> Colour {
    let hue = hue.rem_euclid(360.0);
    let (saturation, lightness) = (saturation.clamp(0.0, 1.0), lightness.clamp(0.0, 1.0));
    let spread = saturation * lightness.min(1.0 - lightness);
    let channel = |shift: f64| {
        let k = (shift + hue / 30.0) % 12.0;
        let value = lightness - spread * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    };
    [channel(0.0), channel(8.0), channel(4.0), 255]
}

/// Between two colours.
pub(super) fn mix(from: Colour, to: Colour, share: f64) -> Colour {
    let share = share.clamp(0.0, 1.0);
    let mut mixed = [0; 4];
    for ((out, a), b) in mixed.iter_mut().zip(from).zip(to) {
        *out = (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
    }
    mixed
}
