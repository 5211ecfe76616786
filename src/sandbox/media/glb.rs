//! A mesh as binary glTF 2.0: a turned body with a wavy outline, flat shaded, in the colours of
//! its prompt.

use image::DynamicImage;
use serde_json::json;

use super::canvas::{hsl, mix};
use super::{Artifact, edit};

type Vector = [f32; 3];

/// A GLB file with at most the artifact's number of triangles.
pub(super) fn mesh(artifact: &Artifact, reference: Option<&DynamicImage>) -> Vec<u8> {
    let mut chance = artifact.chance();
    let hue = reference.map_or_else(|| chance.between(0.0, 360.0), edit::main_hue);
    let light = hsl(hue - 20.0, 0.7, 0.7);
    let dark = hsl(hue + 40.0, 0.6, 0.35);
    let waves: Vec<_> = (1..5)
        .map(|wave| (f64::from(wave) * 1.7, chance.between(0.0, 6.3), chance.between(0.05, 0.22)))
        .collect();
    let lobes = f64::from(3 + chance.below(5));
    let depth = chance.between(0.0, 0.2);

    // Two triangles for each of rings by segments squares, in the proportion of one to two.
    let faces = artifact.faces.clamp(16, 20_000);
    let rings = ((f64::from(faces) / 4.0).sqrt() as u32).max(2);
    let segments = (faces / (2 * rings)).max(3);
    let point = |ring: u32, segment: u32| -> Vector {
        let up = f64::from(ring) / f64::from(rings);
        let around = f64::from(segment % segments) / f64::from(segments) * std::f64::consts::TAU;
        let wave: f64 =
            waves.iter().map(|(rate, shift, high)| high * (rate * up * 3.0 + shift).sin()).sum();
        let body = (up * std::f64::consts::PI).sin() * (0.6 + wave);
        let radius = body.max(0.0) * (1.0 + depth * (lobes * around).cos());
        let place = [radius * around.cos(), up * 1.6 - 0.8, radius * around.sin()];
        place.map(|value| value as f32)
    };

    let mut corners: Vec<(Vector, Vector, [u8; 4])> = Vec::new();
    for ring in 0..rings {
        let colour = mix(dark, light, f64::from(ring) / f64::from(rings));
        for segment in 0..segments {
            let (a, b) = (point(ring, segment), point(ring, segment + 1));
            let (c, d) = (point(ring + 1, segment), point(ring + 1, segment + 1));
            for triangle in [[a, c, b], [b, c, d]] {
                let normal = normal(triangle);
                corners.extend(triangle.map(|corner| (corner, normal, colour)));
            }
        }
    }
    file(&corners, artifact)
}

fn normal([a, b, c]: [Vector; 3]) -> Vector {
    let minus = |[ax, ay, az]: Vector, [bx, by, bz]: Vector| [ax - bx, ay - by, az - bz];
    let ([ux, uy, uz], [vx, vy, vz]) = (minus(b, a), minus(c, a));
    let cross = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    let length = cross.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > f32::EPSILON { cross.map(|value| value / length) } else { [0.0, 1.0, 0.0] }
}

fn file(corners: &[(Vector, Vector, [u8; 4])], artifact: &Artifact) -> Vec<u8> {
    let count = corners.len();
    let mut low = [f32::MAX; 3];
    let mut high = [f32::MIN; 3];
    let mut places = Vec::with_capacity(count * 12);
    let mut normals = Vec::with_capacity(count * 12);
    let mut colours: Vec<u8> = Vec::with_capacity(count * 4);
    for (place, normal, colour) in corners {
        for ((value, low), high) in place.iter().zip(&mut low).zip(&mut high) {
            *low = low.min(*value);
            *high = high.max(*value);
        }
        places.extend(place.iter().flat_map(|value| value.to_le_bytes()));
        normals.extend(normal.iter().flat_map(|value| value.to_le_bytes()));
        colours.extend(colour);
    }
    let (place_bytes, colour_bytes) = (places.len(), colours.len());
    let mut binary = places;
    binary.extend(normals);
    binary.extend(colours);

    // 34962 is a vertex buffer; 5126 are floats, 5121 unsigned bytes.
    let view = |offset: usize, length: usize| json!({ "buffer": 0, "byteOffset": offset, "byteLength": length, "target": 34962 });
    let document = json!({
        "asset": { "version": "2.0", "generator": "layer-mcp sandbox" },
        "scene": 0,
        "scenes": [{ "nodes": [0] }],
        "nodes": [{ "mesh": 0, "name": artifact.slug() }],
        "meshes": [{ "primitives": [{
            "attributes": { "POSITION": 0, "NORMAL": 1, "COLOR_0": 2 },
            "material": 0,
            "mode": 4,
        }] }],
        "materials": [{
            "name": "body",
            "pbrMetallicRoughness": { "metallicFactor": 0.1, "roughnessFactor": 0.7 },
            "doubleSided": true,
        }],
        "accessors": [
            {
                "bufferView": 0, "componentType": 5126, "count": count, "type": "VEC3",
                "min": low, "max": high,
            },
            { "bufferView": 1, "componentType": 5126, "count": count, "type": "VEC3" },
            {
                "bufferView": 2, "componentType": 5121, "count": count, "type": "VEC4",
                "normalized": true,
            },
        ],
        "bufferViews": [
            view(0, place_bytes),
            view(place_bytes, place_bytes),
            view(2 * place_bytes, colour_bytes),
        ],
        "buffers": [{ "byteLength": binary.len() }],
    });
    let mut text = document.to_string().into_bytes();
    text.resize(text.len().next_multiple_of(4), b' ');
    binary.resize(binary.len().next_multiple_of(4), 0);

    let mut glb = Vec::with_capacity(text.len() + binary.len() + 28);
    glb.extend(b"glTF");
    glb.extend(2_u32.to_le_bytes());
    glb.extend(length(12 + 8 + text.len() + 8 + binary.len()));
    glb.extend(length(text.len()));
    glb.extend(b"JSON");
    glb.extend(text);
    glb.extend(length(binary.len()));
    glb.extend(b"BIN\0");
    glb.extend(binary);
    glb
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}
