#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
use std::collections::HashSet;
use std::time::{Duration, Instant};

use image::{DynamicImage, GenericImageView, ImageFormat};

use super::*;

fn picture(prompt: &str, width: u32, height: u32) -> Artifact {
    Artifact {
        model: "flux".into(),
        prompt: prompt.into(),
        seed: 7,
        content_type: "image/png".into(),
        width,
        height,
        ..Artifact::default()
    }
}

fn made(artifact: &Artifact, sources: &[Vec<u8>]) -> Vec<u8> {
    render(artifact, sources, None).unwrap()
}

fn image_of(artifact: &Artifact) -> DynamicImage {
    image::load_from_memory(&made(artifact, &[])).unwrap()
}

#[test]
fn pictures_have_exactly_the_asked_size() {
    for (width, height) in [(1, 1), (16, 16), (31, 500), (640, 360), (1024, 1024), (1000, 37)] {
        assert_eq!(image_of(&picture("a fox", width, height)).dimensions(), (width, height));
    }
}

#[test]
fn the_same_request_gives_the_same_bytes_and_another_gives_others() {
    let fox = picture("a fox", 128, 128);
    assert_eq!(made(&fox, &[]), made(&fox, &[]));
    let others = [
        picture("a wolf", 128, 128),
        Artifact { seed: 8, ..fox.clone() },
        Artifact { index: 1, ..fox.clone() },
        Artifact { model: "flux-2-pro".into(), ..fox.clone() },
    ];
    let all: HashSet<_> = others.iter().chain([&fox]).map(|artifact| made(artifact, &[])).collect();
    assert_eq!(all.len(), 5);
}

#[test]
fn transparency_is_true_alpha_and_only_where_asked() {
    let opaque = image_of(&picture("a potion", 256, 256));
    assert!(!opaque.color().has_alpha());
    let clear = image_of(&Artifact { transparent: true, ..picture("a potion", 256, 256) });
    let alphas: Vec<_> = clear.to_rgba8().pixels().map(|pixel| pixel.0[3]).collect();
    assert_eq!(alphas[0], 0);
    let solid = alphas.iter().filter(|alpha| **alpha == 255).count();
    assert!(solid > 5_000 && solid < 40_000, "{solid}");
}

#[test]
fn tiles_meet_at_their_edges() {
    // Two copies side by side: the step over the seam is no rougher than the steps inside.
    let roughness = |tileable| {
        let image =
            image_of(&Artifact { tileable, ..picture("cobble texture", 96, 96) }).to_rgba8();
        let differ = |a: u32, b: u32| {
            (0..96).filter(|y| image.get_pixel(a, *y) != image.get_pixel(b, *y)).count()
        };
        let inside: usize = (0..95).map(|x| differ(x, x + 1)).sum::<usize>() / 95;
        (differ(95, 0), inside)
    };
    let (seam, inside) = roughness(true);
    assert!(seam <= inside * 2, "{seam} {inside}");
}

#[test]
fn a_white_background_is_white() {
    let image = image_of(&picture("a red potion on a white background", 128, 128));
    assert_eq!(image.get_pixel(0, 0).0, [255, 255, 255, 255]);
}

#[test]
fn models_answer_in_their_own_media_types() {
    for (content_type, format) in
        [("image/jpeg", ImageFormat::Jpeg), ("image/webp", ImageFormat::WebP)]
    {
        let artifact =
            Artifact { content_type: content_type.into(), ..picture("a landscape", 320, 180) };
        let bytes = made(&artifact, &[]);
        assert_eq!(image::guess_format(&bytes).unwrap(), format);
        assert_eq!(image::load_from_memory(&bytes).unwrap().dimensions(), (320, 180));
    }
}

#[test]
fn the_largest_picture_is_made_in_time() {
    let start = Instant::now();
    let bytes = made(&picture("a dragon", 4096, 4096), &[]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(bytes.len() < 8_000_000, "{}", bytes.len());
    let cut = Artifact { makes: Make::CutOut, ..picture("", 4096, 4096) };
    made(&cut, &[bytes]);
    let webp = Artifact { content_type: "image/webp".into(), ..picture("a dragon", 4096, 4096) };
    made(&webp, &[]);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_cut_out_keeps_the_subject_and_loses_the_ground() {
    let source = made(&picture("a mushroom", 256, 256), &[]);
    let cut = Artifact { makes: Make::CutOut, ..picture("", 256, 256) };
    let image = image::load_from_memory(&made(&cut, &[source])).unwrap().to_rgba8();
    assert_eq!(image.get_pixel(0, 0).0[3], 0);
    assert_eq!(image.get_pixel(128, 128).0[3], 255);
    // As if it had been drawn without a background in the first place.
    let drawn = image_of(&Artifact { transparent: true, ..picture("a mushroom", 256, 256) });
    let drawn = drawn.to_rgba8();
    let differ = image.pixels().zip(drawn.pixels()).filter(|(a, b)| a.0[3] != b.0[3]).count();
    assert!(differ < 256 * 256 / 100, "{differ}");
}

#[test]
fn a_mask_protects_what_is_dark() {
    let source = made(&picture("a gem", 64, 64), &[]);
    let edit = Artifact { makes: Make::Edit, ..picture("make it blue", 64, 64) };
    let mask =
        image::GrayImage::from_fn(64, 64, |x, _| image::Luma([if x < 32 { 0 } else { 255 }]));
    let mut mask_bytes = std::io::Cursor::new(Vec::new());
    mask.write_to(&mut mask_bytes, ImageFormat::Png).unwrap();
    let changed = render(&edit, &[&source], Some(mask_bytes.get_ref())).unwrap();
    let before = image::load_from_memory(&source).unwrap().to_rgba8();
    let after = image::load_from_memory(&changed).unwrap().to_rgba8();
    assert!((0..64).all(|y| before.get_pixel(5, y) == after.get_pixel(5, y)));
    assert!((0..64).any(|y| before.get_pixel(60, y) != after.get_pixel(60, y)));
}

#[test]
fn an_upscale_and_a_vector_follow_their_source() {
    let source = made(&picture("a coin", 50, 40), &[]);
    let large = Artifact { makes: Make::Upscale, ..picture("", 100, 80) };
    let large = image::load_from_memory(&made(&large, std::slice::from_ref(&source))).unwrap();
    assert_eq!(large.dimensions(), (100, 80));
    let vector = Artifact { makes: Make::Vector, ..picture("", 50, 40) };
    let svg = String::from_utf8(made(&vector, &[source])).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("<rect "));
}

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

#[test]
fn sounds_are_pcm_of_the_asked_length_and_audible() {
    for makes in [Make::Speech, Make::SoundEffect, Make::Music] {
        let artifact = Artifact { makes, seconds: 1.5, ..picture("hello out there", 0, 0) };
        let wav = made(&artifact, &[]);
        assert_eq!((&wav[..4], &wav[8..16]), (b"RIFF".as_slice(), b"WAVEfmt ".as_slice()));
        assert_eq!(number(&wav, 4), wav.len() - 8);
        assert_eq!((&wav[36..40], number(&wav, 40)), (b"data".as_slice(), wav.len() - 44));
        let seconds = number(&wav, 40) as f64 / number(&wav, 28) as f64;
        assert!((seconds - 1.5).abs() < 0.01, "{seconds}");
        let loudest = wav[44..]
            .chunks(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs())
            .max();
        assert!(loudest > Some(8_000), "{makes:?} {loudest:?}");
    }
}

#[test]
fn meshes_are_glb_with_true_bounds() {
    let artifact = Artifact { makes: Make::Mesh, faces: 500, ..picture("a robot", 0, 0) };
    let glb = made(&artifact, &[]);
    assert_eq!((&glb[..4], number(&glb, 4), number(&glb, 8)), (b"glTF".as_slice(), 2, glb.len()));
    let json_length = number(&glb, 12);
    assert_eq!((&glb[16..20], json_length % 4), (b"JSON".as_slice(), 0));
    let json: serde_json::Value = serde_json::from_slice(&glb[20..20 + json_length]).unwrap();
    let binary = 20 + json_length;
    assert_eq!(&glb[binary + 4..binary + 8], b"BIN\0");
    assert_eq!(number(&glb, binary), glb.len() - binary - 8);
    assert_eq!(json["buffers"][0]["byteLength"], glb.len() - binary - 8);

    let count = json["accessors"][0]["count"].as_u64().unwrap() as usize;
    assert!(count.is_multiple_of(3) && count / 3 <= 500 && count / 3 > 300, "{count}");
    let data = &glb[binary + 8..];
    let mut highest = [f32::MIN; 3];
    for corner in data[..count * 12].chunks(12) {
        for (axis, bytes) in corner.chunks(4).enumerate() {
            highest[axis] = highest[axis].max(f32::from_le_bytes(bytes.try_into().unwrap()));
        }
    }
    for (axis, high) in highest.iter().enumerate() {
        let told = json["accessors"][0]["max"][axis].as_f64().unwrap() as f32;
        assert!((told - high).abs() < 1e-5, "{told} {high}");
    }
}

/// The boxes of a part of an MP4 file: kind, start of content, end.
fn boxes(file: &[u8], mut from: usize, to: usize) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    while from < to {
        let size = u32::from_be_bytes(file[from..from + 4].try_into().unwrap()) as usize;
        let kind = String::from_utf8(file[from + 4..from + 8].to_vec()).unwrap();
        assert!(size >= 8 && from + size <= to, "{kind} {size}");
        found.push((kind, from + 8, from + size));
        from += size;
    }
    found
}

#[test]
fn videos_are_mp4_with_the_index_first() {
    let artifact = Artifact {
        makes: Make::Video,
        seconds: 1.0,
        fps: 6,
        content_type: "video/mp4".into(),
        ..picture("a rocket", 160, 90)
    };
    let file = made(&artifact, &[]);
    let top = boxes(&file, 0, file.len());
    let kinds: Vec<_> = top.iter().map(|(kind, ..)| kind.as_str()).collect();
    assert_eq!(kinds, ["ftyp", "moov", "mdat"]);
    let within = |path: &[&str]| {
        let mut part = (0, file.len());
        for kind in path {
            let inner = boxes(&file, part.0, part.1);
            let (_, start, end) = inner.into_iter().find(|(found, ..)| found == kind).unwrap();
            part = (start, end);
        }
        part
    };
    let big = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let table = ["moov", "trak", "mdia", "minf", "stbl"];
    let sizes = within(&[&table[..], &["stsz"]].concat()).0;
    assert_eq!(big(sizes + 8), 6);
    let offset = big(within(&[&table[..], &["stco"]].concat()).0 + 8);
    assert_eq!(offset, top[2].1);
    let total: usize = (0..6).map(|frame| big(sizes + 12 + frame * 4)).sum();
    assert_eq!(offset + total, file.len());
    // Each frame is one unit of H.264: a key frame.
    assert_eq!(big(offset), big(sizes + 12) - 4);
    assert_eq!(file[offset + 4] & 0x1F, 5);
    let clock = within(&["moov", "mvhd"]).0;
    assert_eq!(big(clock + 16), big(clock + 12) / 6 * 6);
}

#[test]
fn a_first_frame_is_seen_in_the_video() {
    let source = made(&picture("a heart", 64, 64), &[]);
    let video = Artifact { makes: Make::Video, seconds: 0.5, fps: 4, ..picture("", 64, 64) };
    assert_ne!(made(&video, &[source]), made(&video, &[]));
}

#[test]
fn slugs_and_extensions_make_names() {
    assert_eq!(
        picture("A Red, 32px Fox! by the sea side of it", 1, 1).slug(),
        "a-red-32px-fox-by-the"
    );
    assert_eq!(picture("狐", 1, 1).slug(), "output");
    assert_eq!(picture("", 1, 1).extension(), "png");
}

/// Files to look at, when a directory for them is named in the environment.
#[test]
fn a_gallery_can_be_written() {
    let Some(folder) = std::env::var_os("SANDBOX_GALLERY").map(std::path::PathBuf::from) else {
        return;
    };
    std::fs::create_dir_all(&folder).unwrap();
    let prompts = [
        "a red potion",
        "a slime monster",
        "a friendly ghost",
        "golden sword",
        "a mushroom",
        "blue gem",
        "treasure chest",
        "a rocket",
        "forest landscape",
        "cobble texture",
        "skull",
        "a pine tree",
        "shield",
        "crown",
        "coin",
        "key",
        "star",
        "heart",
        "robot",
        "a tiny dragon",
    ];
    for prompt in prompts {
        let artifact = picture(prompt, 256, 256);
        std::fs::write(folder.join(format!("{}.png", artifact.slug())), made(&artifact, &[]))
            .unwrap();
    }
    for (makes, name) in
        [(Make::Video, "rocket.mp4"), (Make::Mesh, "robot.glb"), (Make::Music, "music.wav")]
    {
        let artifact =
            Artifact { makes, seconds: 3.0, fps: 8, faces: 2_000, ..picture("a rocket", 320, 180) };
        std::fs::write(folder.join(name), made(&artifact, &[])).unwrap();
    }
}
