//! Sound as 16-bit PCM: something like speech, an effect, a small tune.

use std::f64::consts::TAU;

use super::{Artifact, Chance, Make};

const RATE: u32 = 22_050;

/// A WAV file of the artifact's length.
pub(super) fn sound(artifact: &Artifact) -> Vec<u8> {
    let seconds = artifact.seconds.clamp(0.1, 120.0);
    let count = (seconds * f64::from(RATE)).round() as usize;
    let mut chance = artifact.chance();
    let samples = match artifact.makes {
        Make::Music => tune(&mut chance, count),
        Make::SoundEffect => effect(&mut chance, count),
        _ => speech(&mut chance, &artifact.prompt, count),
    };
    file(&samples)
}

/// A header and the samples, which lie between -1 and 1.
fn file(samples: &[f64]) -> Vec<u8> {
    let size = u32::try_from(samples.len() * 2).unwrap_or(u32::MAX - 44);
    let mut wav = Vec::with_capacity(samples.len() * 2 + 44);
    wav.extend(b"RIFF");
    wav.extend((size + 36).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    // PCM, one channel, the rate, bytes a second, bytes a sample, bits a sample.
    wav.extend(1_u16.to_le_bytes());
    wav.extend(1_u16.to_le_bytes());
    wav.extend(RATE.to_le_bytes());
    wav.extend((RATE * 2).to_le_bytes());
    wav.extend(2_u16.to_le_bytes());
    wav.extend(16_u16.to_le_bytes());
    wav.extend(b"data");
    wav.extend(size.to_le_bytes());
    for sample in samples {
        wav.extend(((sample.clamp(-1.0, 1.0) * 32_000.0) as i16).to_le_bytes());
    }
    wav
}

/// Plucked notes of a pentatonic scale over a bass, four to a second.
fn tune(chance: &mut Chance, count: usize) -> Vec<f64> {
    const SCALE: [f64; 5] = [0.0, 3.0, 5.0, 7.0, 10.0];
    let root = 110.0 * 2_f64.powf(f64::from(chance.below(12)) / 12.0);
    let note = RATE as usize / 4;
    let mut samples = vec![0.0; count];
    for (beat, bar) in samples.chunks_mut(note).enumerate() {
        let degree = SCALE.get(chance.below(5) as usize).copied().unwrap_or(0.0);
        let pitch = root * 2.0 * 2_f64.powf(degree / 12.0 + f64::from(chance.below(2)));
        let bass = if beat % 8 < 4 { root } else { root * 0.75 };
        for (position, sample) in bar.iter_mut().enumerate() {
            let time = position as f64 / f64::from(RATE);
            let pluck = (-time * 9.0).exp() * (TAU * pitch * time).sin();
            let low = (-time * 5.0).exp() * (TAU * bass * time).sin();
            *sample = 0.5 * pluck + 0.35 * low;
        }
    }
    samples
}

/// A sweep with some noise that dies away.
fn effect(chance: &mut Chance, count: usize) -> Vec<f64> {
    let (from, to) = (chance.between(200.0, 1_600.0), chance.between(60.0, 2_400.0));
    let noise = chance.between(0.05, 0.5);
    let mut phase = 0.0;
    let whole = count.max(1) as f64;
    (0..count)
        .map(|position| {
            let gone = position as f64 / whole;
            phase += TAU * (from + (to - from) * gone) / f64::from(RATE);
            let hiss = chance.between(-1.0, 1.0) * noise;
            (phase.sin() * (1.0 - noise) + hiss) * (1.0 - gone).powi(2) * 0.9
        })
        .collect()
}

/// One soft tone for each letter, a pause for each space.
fn speech(chance: &mut Chance, prompt: &str, count: usize) -> Vec<f64> {
    let voice = chance.between(110.0, 230.0);
    let letters: Vec<char> = prompt.chars().collect();
    let each = (count / letters.len().max(1)).max(1);
    let mut samples = vec![0.0; count];
    for (part, letter) in
        samples.chunks_mut(each).zip(letters.iter().chain(std::iter::repeat(&'a')))
    {
        if !letter.is_alphanumeric() {
            continue;
        }
        let pitch = voice * (1.0 + f64::from(u32::from(*letter) % 13) / 26.0);
        let whole = part.len() as f64;
        for (position, sample) in part.iter_mut().enumerate() {
            let time = position as f64 / f64::from(RATE);
            let swell = (std::f64::consts::PI * position as f64 / whole).sin();
            let tone = (TAU * pitch * time).sin() + 0.4 * (TAU * pitch * 3.0 * time).sin();
            *sample = 0.45 * swell * tone;
        }
    }
    samples
}
