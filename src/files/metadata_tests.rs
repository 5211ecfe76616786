#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected should stop"
)]

use proptest::prelude::*;

use super::*;
use crate::files::samples;

const SECRET: &[u8] = b"GPS 52.5200N 13.4050E";

/// A TIFF block with this orientation, and a secret behind it.
fn exif(value: u8, big: bool) -> Vec<u8> {
    let mut tiff = match big {
        true => b"MM\0*\0\0\0\x08\0\x02".to_vec(),
        false => b"II*\0\x08\0\0\0\x02\0".to_vec(),
    };
    for (tag, value) in [(0x0110_u16, 0_u8), (0x0112, value)] {
        let (kind, count) = (3_u16, 1_u32);
        match big {
            true => {
                tiff.extend([tag.to_be_bytes(), kind.to_be_bytes()].concat());
                tiff.extend(count.to_be_bytes());
                tiff.extend([0, value, 0, 0]);
            }
            false => {
                tiff.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
                tiff.extend(count.to_le_bytes());
                tiff.extend([value, 0, 0, 0]);
            }
        }
    }
    tiff.extend([0; 4]);
    tiff.extend(SECRET);
    tiff
}

fn app(marker: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    segment(&mut out, marker, &parts.concat());
    out
}

fn noise_jpeg() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_fn(40, 24, |x, y| {
        let [r, g, b, _] = samples::hash(x, y);
        image::Rgb([r, g, b])
    });
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// A JPEG with everything that phones and editors put in.
fn loaded_jpeg(orientation: u8) -> Vec<u8> {
    let plain = noise_jpeg();
    let scan = plain.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    let thumbnail = [2_u8; 12];
    [
        b"\xff\xd8".as_slice(),
        &app(0xe0, &[b"JFIF\0\x01\x02\0\0\x01\0\x01\x02\x02", &thumbnail, SECRET]),
        &app(0xe0, &[b"JFXX\0\x10", SECRET]),
        &app(0xe1, &[EXIF, &exif(orientation, true)]),
        &app(0xe1, &[b"http://ns.adobe.com/xap/1.0/\0", SECRET]),
        &app(0xe2, &[b"MPF\0", SECRET]),
        &app(0xe2, &[b"ICC_PROFILE\0\x01\x01", b"the colours"]),
        &app(0xed, &[b"Photoshop 3.0\0", SECRET]),
        &app(0xfe, &[SECRET]),
        &app(0xef, &[SECRET]),
        // Without SOI and its own JFIF segment.
        &plain[20..scan],
        &app(0xfe, &[SECRET]),
        &plain[scan..],
        b"\xff\xd8\xff\xe1 a second picture",
        SECRET,
    ]
    .concat()
}

fn png_chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let named = [name.as_slice(), content].concat();
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [length.as_slice(), &named, &samples::crc32(&named).to_be_bytes()].concat()
}

fn loaded_png(orientation: u8) -> Vec<u8> {
    let plain = samples::noise_png(20, 12);
    let (head, data) = plain.split_at(33);
    let text = |name: &[u8; 4]| png_chunk(name, &[b"Comment\0", SECRET].concat());
    [
        head,
        &png_chunk(b"gAMA", &45_455_u32.to_be_bytes()),
        &png_chunk(b"eXIf", &exif(orientation, false)),
        &text(b"tEXt"),
        &text(b"zTXt"),
        &text(b"iTXt"),
        &png_chunk(b"tIME", &[7, 234, 1, 1, 1, 1, 1]),
        &text(b"prVt"),
        data,
        SECRET,
    ]
    .concat()
}

fn loaded_webp(orientation: u8) -> Vec<u8> {
    let plain = samples::webp(9, 9, 255);
    let mut body = b"WEBP".to_vec();
    chunk(&mut body, b"VP8X", &[0x3c, 0, 0, 0, 8, 0, 0, 8, 0, 0]);
    chunk(&mut body, b"ICCP", b"the colours");
    body.extend(&plain[12..]);
    chunk(&mut body, b"EXIF", &exif(orientation, false));
    chunk(&mut body, b"XMP ", SECRET);
    chunk(&mut body, b"abcd", SECRET);
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [b"RIFF".as_slice(), &length, &body, SECRET].concat()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn pixels(bytes: &[u8]) -> Vec<u8> {
    image::load_from_memory(bytes).unwrap().into_rgba8().into_raw()
}

#[test]
fn metadata_goes_and_the_pixels_stay() {
    for value in 0..=9_u8 {
        for (media, loaded) in [
            (MediaType::Jpeg, loaded_jpeg(value)),
            (MediaType::Png, loaded_png(value)),
            (MediaType::Webp, loaded_webp(value)),
        ] {
            assert!(holds(&loaded, SECRET), "{media}");
            let rest = without(&loaded, media).unwrap().unwrap();
            assert!(!holds(&rest, SECRET), "{media}");
            assert_eq!(pixels(&rest), pixels(&loaded), "{media}");
            assert_eq!(without(&rest, media).unwrap(), None, "{media}");
            if media != MediaType::Png {
                assert!(holds(&rest, b"the colours"), "{media}");
            }
            // The way the camera was held.
            let turned = exif(value, true);
            let kept = holds(&rest, b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0");
            assert_eq!(kept, (2..=8).contains(&value), "{media} {value}");
            assert!(orientation(&turned).is_none_or(|block| block[19] == value));
            if media != MediaType::Png || value == 1 {
                let decoded = image::ImageReader::new(std::io::Cursor::new(&rest));
                let mut decoder = decoded.with_guessed_format().unwrap().into_decoder().unwrap();
                let wanted = if (2..=8).contains(&value) { value } else { 1 };
                let found = image::ImageDecoder::orientation(&mut decoder).unwrap().to_exif();
                assert_eq!(found, wanted, "{media}");
            }
        }
    }
}

#[test]
fn a_picture_without_metadata_and_what_is_no_picture_stay_as_they_are() {
    for (media, bytes) in [
        (MediaType::Jpeg, noise_jpeg()),
        (MediaType::Png, samples::noise_png(5, 5)),
        (MediaType::Webp, samples::webp(9, 9, 200)),
        (MediaType::Wav, samples::wav(8_000, 100)),
        (MediaType::Mp4, samples::mp4(2, 2, 1, 1, 0, true)),
    ] {
        assert_eq!(without(&bytes, media).unwrap(), None, "{media}");
    }
}

#[test]
fn what_is_cut_short_is_not_sent() {
    for (media, loaded) in [
        (MediaType::Jpeg, noise_jpeg()[..100].to_vec()),
        (MediaType::Png, samples::noise_png(9, 9)[..60].to_vec()),
        (MediaType::Webp, samples::webp(9, 9, 255)[..30].to_vec()),
    ] {
        assert!(without(&loaded, media).is_err(), "{media}");
    }
    // Its last two bytes alone are not missed.
    let jpeg = noise_jpeg();
    assert_eq!(without(&jpeg[..jpeg.len() - 2], MediaType::Jpeg).unwrap(), None);
}

fn settles(bytes: &[u8], media: MediaType) -> Result<(), TestCaseError> {
    if let Ok(Some(rest)) = without(bytes, media) {
        prop_assert!(rest.len() <= bytes.len() + 64);
        prop_assert_eq!(without(&rest, media), Ok(None));
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_walked_to_an_end(tail in proptest::collection::vec(any::<u8>(), 0..400)) {
        for (media, head) in [
            (MediaType::Jpeg, b"\xff\xd8".as_slice()),
            (MediaType::Png, PNG),
            (MediaType::Webp, b"RIFF\x80\0\0\0WEBP"),
        ] {
            settles(&[head, &tail].concat(), media)?;
            settles(&tail, media)?;
        }
    }

    #[test]
    fn a_damaged_picture_is_walked_to_an_end(
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        end in any::<proptest::sample::Index>(),
        value in 0..10_u8,
    ) {
        for (media, mut bytes) in [
            (MediaType::Jpeg, loaded_jpeg(value)),
            (MediaType::Png, loaded_png(value)),
            (MediaType::Webp, loaded_webp(value)),
        ] {
            let length = bytes.len();
            bytes[at.index(length)] = byte;
            settles(&bytes, media)?;
            bytes.truncate(end.index(length));
            settles(&bytes, media)?;
        }
    }
}
