//! What a file is, judged by its bytes alone.
//!
//! Neither a name nor a server's content type is ever believed. What is not recognised (an
//! HTML page, a JSON error, plain text, a program) has no [`MediaType`].

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many leading bytes [`MediaType::detect`] looks at.
pub const HEAD_BYTES: usize = 64 * 1024;

/// The kinds of files that are saved, with the extension and media type of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is the format of its name")]
pub enum MediaType {
    Png,
    Jpeg,
    Webp,
    Gif,
    Avif,
    Bmp,
    Tiff,
    Exr,
    Ktx2,
    Psd,
    Svg,
    Mp4,
    Webm,
    Mkv,
    Mov,
    Wav,
    Mp3,
    Ogg,
    Flac,
    M4a,
    Aac,
    Glb,
    Gltf,
    Fbx,
    Obj,
    Stl,
    Ply,
    Usd,
    Usdz,
    Zip,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MediaKind {
    /// A still or animated picture.
    Image,
    /// A film.
    Video,
    /// Sound.
    Audio,
    /// A mesh or a scene.
    Mesh,
    /// Files packed into one. Never unpacked here.
    Archive,
}

impl MediaType {
    /// Every type there is.
    pub const ALL: [Self; 30] = [
        Self::Png,
        Self::Jpeg,
        Self::Webp,
        Self::Gif,
        Self::Avif,
        Self::Bmp,
        Self::Tiff,
        Self::Exr,
        Self::Ktx2,
        Self::Psd,
        Self::Svg,
        Self::Mp4,
        Self::Webm,
        Self::Mkv,
        Self::Mov,
        Self::Wav,
        Self::Mp3,
        Self::Ogg,
        Self::Flac,
        Self::M4a,
        Self::Aac,
        Self::Glb,
        Self::Gltf,
        Self::Fbx,
        Self::Obj,
        Self::Stl,
        Self::Ply,
        Self::Usd,
        Self::Usdz,
        Self::Zip,
    ];

    /// The type of a file of `len` bytes that begins with `head`: the whole file, or its
    /// first [`HEAD_BYTES`]. `None` for everything that is no asset.
    #[must_use]
    pub fn detect(head: &[u8], len: u64) -> Option<Self> {
        by_signature(head).or_else(|| by_shape(head, len)).or_else(|| by_text(head))
    }

    /// The type whose files end in `extension`: without the dot, in any case.
    #[must_use]
    pub fn from_extension(extension: &str) -> Option<Self> {
        let lower = extension.to_ascii_lowercase();
        Self::ALL.into_iter().find(|media| media.facts().2.contains(&lower.as_str()))
    }

    /// The type with this media type, as [`mime`](Self::mime) spells it.
    #[must_use]
    pub fn from_mime(mime: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|media| media.mime() == mime)
    }

    /// The media type, such as `image/png`.
    #[must_use]
    pub const fn mime(self) -> &'static str {
        self.facts().0
    }

    /// What such a file is for.
    #[must_use]
    pub const fn kind(self) -> MediaKind {
        self.facts().1
    }

    /// The usual extension, without the dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self.facts().2 {
            [usual, ..] => usual,
            [] => "bin",
        }
    }

    /// The `image` crate's name for the pictures that can be decoded here.
    pub(crate) const fn decodable(self) -> Option<image::ImageFormat> {
        match self {
            Self::Png => Some(image::ImageFormat::Png),
            Self::Jpeg => Some(image::ImageFormat::Jpeg),
            Self::Webp => Some(image::ImageFormat::WebP),
            Self::Gif => Some(image::ImageFormat::Gif),
            _ => None,
        }
    }

    /// Media type, kind, and extensions with the usual one first.
    const fn facts(self) -> (&'static str, MediaKind, &'static [&'static str]) {
        use MediaKind::{Archive, Audio, Image, Mesh, Video};
        match self {
            Self::Png => ("image/png", Image, &["png", "apng"]),
            Self::Jpeg => ("image/jpeg", Image, &["jpg", "jpeg", "jpe", "jfif"]),
            Self::Webp => ("image/webp", Image, &["webp"]),
            Self::Gif => ("image/gif", Image, &["gif"]),
            Self::Avif => ("image/avif", Image, &["avif"]),
            Self::Bmp => ("image/bmp", Image, &["bmp"]),
            Self::Tiff => ("image/tiff", Image, &["tif", "tiff"]),
            Self::Exr => ("image/x-exr", Image, &["exr"]),
            Self::Ktx2 => ("image/ktx2", Image, &["ktx2"]),
            Self::Psd => ("image/vnd.adobe.photoshop", Image, &["psd", "psb"]),
            Self::Svg => ("image/svg+xml", Image, &["svg"]),
            Self::Mp4 => ("video/mp4", Video, &["mp4", "m4v"]),
            Self::Webm => ("video/webm", Video, &["webm"]),
            Self::Mkv => ("video/matroska", Video, &["mkv"]),
            Self::Mov => ("video/quicktime", Video, &["mov", "qt"]),
            Self::Wav => ("audio/wav", Audio, &["wav", "wave"]),
            Self::Mp3 => ("audio/mpeg", Audio, &["mp3"]),
            Self::Ogg => ("audio/ogg", Audio, &["ogg", "oga", "opus"]),
            Self::Flac => ("audio/flac", Audio, &["flac"]),
            Self::M4a => ("audio/mp4", Audio, &["m4a", "m4b"]),
            Self::Aac => ("audio/aac", Audio, &["aac"]),
            Self::Glb => ("model/gltf-binary", Mesh, &["glb"]),
            Self::Gltf => ("model/gltf+json", Mesh, &["gltf"]),
            Self::Fbx => ("model/fbx", Mesh, &["fbx"]),
            Self::Obj => ("model/obj", Mesh, &["obj"]),
            Self::Stl => ("model/stl", Mesh, &["stl"]),
            Self::Ply => ("model/ply", Mesh, &["ply"]),
            Self::Usd => ("model/vnd.usd", Mesh, &["usd", "usda", "usdc"]),
            Self::Usdz => ("model/vnd.usdz+zip", Mesh, &["usdz"]),
            Self::Zip => ("application/zip", Archive, &["zip"]),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mime())
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.mime())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mime = String::deserialize(deserializer)?;
        Self::from_mime(&mime).ok_or_else(|| serde::de::Error::custom("unknown media type"))
    }
}

/// What bytes that are no asset look like, as the end of the sentence "it ...".
pub(crate) fn describe(head: &[u8]) -> String {
    if head.is_empty() {
        return "is empty".to_owned();
    }
    let start: String =
        String::from_utf8_lossy(head.get(..64).unwrap_or(head)).trim_start().to_lowercase();
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        return "is an HTML page".to_owned();
    }
    if start.starts_with('{') || start.starts_with('[') {
        return "is JSON or other text".to_owned();
    }
    match file_format::FileFormat::from_bytes(head) {
        file_format::FileFormat::ArbitraryBinaryData if is_text(head) => "is plain text".to_owned(),
        file_format::FileFormat::ArbitraryBinaryData => "is of no known type".to_owned(),
        file_format::FileFormat::PlainText => "is plain text".to_owned(),
        other => format!("looks like `{}`", other.name()),
    }
}

fn is_text(head: &[u8]) -> bool {
    let start = head.get(..512).unwrap_or(head);
    start.iter().all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'))
}

/// Formats with a fixed mark at a fixed place.
fn by_signature(head: &[u8]) -> Option<MediaType> {
    const FRONT: [(&[u8], MediaType); 20] = [
        (b"\x89PNG\r\n\x1a\n", MediaType::Png),
        (b"\xff\xd8\xff", MediaType::Jpeg),
        (b"GIF87a", MediaType::Gif),
        (b"GIF89a", MediaType::Gif),
        (b"II*\0", MediaType::Tiff),
        (b"MM\0*", MediaType::Tiff),
        (b"\x76\x2f\x31\x01", MediaType::Exr),
        (b"\xabKTX 20\xbb\r\n\x1a\n", MediaType::Ktx2),
        (b"8BPS\0", MediaType::Psd),
        (b"OggS\0", MediaType::Ogg),
        (b"fLaC", MediaType::Flac),
        (b"ID3\x02", MediaType::Mp3),
        (b"ID3\x03", MediaType::Mp3),
        (b"ID3\x04", MediaType::Mp3),
        (b"glTF\x02\0\0\0", MediaType::Glb),
        (b"Kaydara FBX Binary", MediaType::Fbx),
        (b"ply\n", MediaType::Ply),
        (b"ply\r\n", MediaType::Ply),
        (b"PXR-USDC", MediaType::Usd),
        (b"#usda ", MediaType::Usd),
    ];
    let front = FRONT.iter().find(|(mark, _)| head.starts_with(mark));
    if let Some((_, media)) = front {
        return Some(*media);
    }
    match (head.get(..4)?, head.get(8..12)) {
        (b"RIFF", Some(b"WEBP")) => Some(MediaType::Webp),
        (b"RIFF" | b"RF64", Some(b"WAVE")) => Some(MediaType::Wav),
        (b"\x1aE\xdf\xa3", _) => ebml(head),
        (b"PK\x03\x04", _) => Some(zip(head)),
        (b"PK\x05\x06", _) => Some(MediaType::Zip),
        _ => boxes(head),
    }
}

/// Matroska names its document type near its front.
fn ebml(head: &[u8]) -> Option<MediaType> {
    let front = head.get(..96).unwrap_or(head);
    let has = |word: &[u8]| front.windows(word.len()).any(|window| window == word);
    if has(b"\x42\x82\x84webm") {
        Some(MediaType::Webm)
    } else {
        has(b"\x42\x82\x88matroska").then_some(MediaType::Mkv)
    }
}

/// The ISO family: the first box says `ftyp` and the brand; old QuickTime has no such box.
fn boxes(head: &[u8]) -> Option<MediaType> {
    match (head.get(4..8)?, head.get(8..12)) {
        (b"ftyp", Some(brand)) => match brand {
            b"qt  " => Some(MediaType::Mov),
            b"M4A " | b"M4B " => Some(MediaType::M4a),
            b"avif" | b"avis" => Some(MediaType::Avif),
            b"heic" | b"heix" | b"mif1" | b"msf1" | b"crx " | b"jp2 " => None,
            _ => Some(MediaType::Mp4),
        },
        (b"moov" | b"mdat" | b"wide", _) => Some(MediaType::Mov),
        _ => None,
    }
}

/// USDZ is a ZIP whose first entry is a USD file.
fn zip(head: &[u8]) -> MediaType {
    let length = head.get(26..28).and_then(|b| b.first_chunk()).map(|b| u16::from_le_bytes(*b));
    let name = length.and_then(|n| head.get(30..)?.get(..usize::from(n)));
    let usd = name.is_some_and(|name| {
        let ends = |end: &[u8]| name.ends_with(end);
        ends(b".usd") || ends(b".usda") || ends(b".usdc")
    });
    if usd { MediaType::Usdz } else { MediaType::Zip }
}

/// Formats that are known only by how their first numbers fit together.
fn by_shape(head: &[u8], len: u64) -> Option<MediaType> {
    if let [0xff, second, third, ..] = *head {
        // Frame sync, layer 3, no reserved version, bit rate or sample rate.
        let sync = second & 0xe6 == 0xe2 && second & 0x18 != 0x08;
        if sync && third & 0xf0 != 0xf0 && third & 0xf0 != 0 && third & 0x0c != 0x0c {
            return Some(MediaType::Mp3);
        }
        if second & 0xf6 == 0xf0 && third & 0x3c != 0x3c {
            return Some(MediaType::Aac);
        }
    }
    let number = |at: usize| {
        head.get(at..)?.first_chunk::<4>().map(|bytes| u64::from(u32::from_le_bytes(*bytes)))
    };
    if head.starts_with(b"BM") && number(2) == Some(len) {
        return Some(MediaType::Bmp);
    }
    // Binary STL: 80 bytes of anything, a count, 50 bytes for each triangle.
    let triangles = number(80)?;
    (triangles > 0 && len == 84 + 50 * triangles).then_some(MediaType::Stl)
}

/// Formats that are text: only what no other text begins with.
fn by_text(head: &[u8]) -> Option<MediaType> {
    let head = head.get(..HEAD_BYTES).unwrap_or(head);
    let text = match str::from_utf8(head) {
        Ok(text) => text,
        // A character that the end of the head cut in two.
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(head.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    if text.contains('\0') {
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_start();
    if is_svg(text) {
        Some(MediaType::Svg)
    } else if is_gltf(text) {
        Some(MediaType::Gltf)
    } else if text.starts_with("; FBX ") {
        Some(MediaType::Fbx)
    } else if text.starts_with("solid") && text.contains("facet normal") {
        Some(MediaType::Stl)
    } else {
        is_obj(text).then_some(MediaType::Obj)
    }
}

fn is_svg(mut text: &str) -> bool {
    loop {
        text = text.trim_start();
        let end = if text.starts_with("<?xml") {
            "?>"
        } else if text.starts_with("<!--") {
            "-->"
        } else if text.starts_with("<!DOCTYPE svg") {
            ">"
        } else {
            return text.strip_prefix("<svg").is_some_and(|rest| {
                rest.starts_with(|c: char| c.is_whitespace() || c == '>' || c == '/')
            });
        };
        match text.split_once(end) {
            Some((_, rest)) => text = rest,
            None => return false,
        }
    }
}

fn is_gltf(text: &str) -> bool {
    let has = |key: &str| text.contains(key);
    text.starts_with('{')
        && has("\"asset\"")
        && has("\"version\"")
        && ["\"meshes\"", "\"nodes\"", "\"scenes\"", "\"buffers\"", "\"accessors\""]
            .into_iter()
            .any(has)
}

fn is_obj(text: &str) -> bool {
    const WORDS: [&str; 14] =
        ["v", "vt", "vn", "vp", "f", "l", "p", "o", "g", "s", "mtllib", "usemtl", "mg", "usemap"];
    const ENOUGH: usize = 3;
    let mut vertices = 0;
    // The last line may be cut.
    let lines = text.rsplit_once('\n').map_or(text, |(whole, _)| whole).lines();
    for line in lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("v") => {
                if words.take(3).filter(|word| word.parse::<f32>().is_ok()).count() != 3 {
                    return false;
                }
                vertices += 1;
            }
            Some(word) if WORDS.contains(&word) => {}
            _ => return false,
        }
    }
    vertices >= ENOUGH
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should stop")]

    use super::*;

    #[test]
    fn each_format_is_known_by_its_bytes() {
        let mut usdz = b"PK\x03\x04".to_vec();
        usdz.extend([0; 22]);
        usdz.extend([10, 0, 0, 0]);
        usdz.extend(b"scene.usdc....");
        let mut stl = vec![7; 80];
        stl.extend(2_u32.to_le_bytes());
        stl.extend([0; 100]);
        let table: [(&[u8], MediaType); 36] = [
            (b"\x89PNG\r\n\x1a\n...", MediaType::Png),
            (b"\xff\xd8\xff\xe0...", MediaType::Jpeg),
            (b"RIFF\x10\0\0\0WEBPVP8 ", MediaType::Webp),
            (b"GIF89a......", MediaType::Gif),
            (b"\0\0\0\x20ftypavif....", MediaType::Avif),
            (b"II*\0........", MediaType::Tiff),
            (b"8BPS\0\x01......", MediaType::Psd),
            (b"\xabKTX 20\xbb\r\n\x1a\n", MediaType::Ktx2),
            (b"BM\x0e\0\0\0\0\0\0\0\0\0\0\0", MediaType::Bmp),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", MediaType::Svg),
            (b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- a -->\n<svg>", MediaType::Svg),
            (b"<!DOCTYPE svg PUBLIC \"x\">\n<svg\n", MediaType::Svg),
            (b"\0\0\0\x20ftypisom....", MediaType::Mp4),
            (b"\0\0\0\x20ftypmp42....", MediaType::Mp4),
            (b"\0\0\0\x14ftypqt  ....", MediaType::Mov),
            (b"\0\0\0\x08wide\0\0\0\x08mdat", MediaType::Mov),
            (b"\0\0\0\x20ftypM4A ....", MediaType::M4a),
            (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01\x42\x82\x84webm....", MediaType::Webm),
            (b"\x1aE\xdf\xa3\xa3\x42\x82\x88matroska....", MediaType::Mkv),
            (b"RIFF\x10\0\0\0WAVEfmt ", MediaType::Wav),
            (b"ID3\x04\0\0\0\0\0\0", MediaType::Mp3),
            (b"\xff\xfb\x90\x64....", MediaType::Mp3),
            (b"\xff\xf1\x50\x80....", MediaType::Aac),
            (b"OggS\0\x02......", MediaType::Ogg),
            (b"fLaC\0\0\0\x22", MediaType::Flac),
            (b"glTF\x02\0\0\0....", MediaType::Glb),
            (b"{\"asset\":{\"version\":\"2.0\"},\"meshes\":[]}", MediaType::Gltf),
            (b"Kaydara FBX Binary  \0", MediaType::Fbx),
            (b"; FBX 7.4.0 project file\n", MediaType::Fbx),
            (b"# cube\no c\nv 0 0 0\nv 1 0 0\nv 0 1.5 0\nf 1 2 3\n", MediaType::Obj),
            (b"solid c\n facet normal 0 0 1\n", MediaType::Stl),
            (&stl, MediaType::Stl),
            (b"ply\nformat ascii 1.0\n", MediaType::Ply),
            (b"#usda 1.0\n", MediaType::Usd),
            (&usdz, MediaType::Usdz),
            (b"PK\x03\x04\x14\0\0\0\0\0", MediaType::Zip),
        ];
        for (bytes, media) in table {
            let len = bytes.len() as u64;
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(MediaType::detect(bytes, len), Some(media), "{shown:?}");
        }
    }

    #[test]
    fn what_is_no_asset_has_no_type() {
        let table: [(&[u8], &str); 15] = [
            (b"", "empty"),
            (b"<!DOCTYPE html><html><svg/></html>", "HTML"),
            (b"  <html>", "HTML"),
            (b"{\"error\":\"expired\"}", "JSON"),
            (b"[1, 2]", "JSON"),
            (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "looks"),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "text"),
            (b"#!/bin/sh\nrm -rf /\n", "looks"),
            (b"\x7fELF\x02\x01\x01\0", "looks"),
            (b"MZ\x90\0", "looks"),
            (b"%PDF-1.7\n", "looks"),
            (b"v 1 2 3\nv x y z\n", "text"),
            (b"just some words\n", "text"),
            (b"\0\0\0\x18ftypheic....", ""),
            (b"\0\x01\x02\x03", ""),
        ];
        for (bytes, words) in table {
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(MediaType::detect(bytes, bytes.len() as u64), None, "{shown:?}");
            assert!(describe(bytes).contains(words), "{shown:?}: {}", describe(bytes));
        }
    }

    #[test]
    fn every_type_is_found_by_its_own_words() {
        for media in MediaType::ALL {
            assert_eq!(MediaType::from_extension(&media.extension().to_uppercase()), Some(media));
            assert_eq!(MediaType::from_mime(media.mime()), Some(media));
            let json = serde_json::to_string(&media).unwrap();
            assert_eq!(serde_json::from_str::<MediaType>(&json).unwrap(), media);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_stumble(bytes in proptest::collection::vec(0_u8.., 0..300), len: u64) {
            let _ = MediaType::detect(&bytes, len);
            let _ = describe(&bytes);
        }
    }
}
