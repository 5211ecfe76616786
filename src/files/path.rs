//! Paths as text: taken apart and judged, part by part.

use std::path::Path;

use unicode_normalization::UnicodeNormalization;

use super::name::Refusal;

/// A path taken apart, before any of its parts is judged.
pub(crate) struct Split {
    pub(crate) absolute: bool,
    pub(crate) parts: Vec<String>,
    /// It ended with a separator or a `.` part, so it names a folder.
    pub(crate) folder: bool,
}

/// Takes `text` apart at `/` and `\`, leaving out empty and `.` parts.
pub(crate) fn split(text: &str) -> Result<Split, Refusal> {
    // An absolute path has the output folder's own length on top.
    const LONGEST: usize = 1024 + 4096;
    if text.len() > LONGEST {
        return Err(Refusal::TooLong);
    }
    if text.chars().any(is_unprintable) {
        return Err(Refusal::Unprintable);
    }
    let slashed = text.replace('\\', "/");
    let slashed = match slashed.strip_prefix("//?/") {
        Some(rest) if cfg!(windows) && has_drive(rest) => rest,
        _ => &slashed,
    };
    let drive = cfg!(windows) && has_drive(slashed);
    let parts: Vec<String> = slashed
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_owned)
        .collect();
    if parts.iter().any(|part| part == "..") {
        return Err(Refusal::Parent);
    }
    let folder = slashed.ends_with('/') || slashed.ends_with("/.") || slashed == ".";
    Ok(Split { absolute: drive || slashed.starts_with('/'), parts, folder })
}

/// The parts of an absolute path below the first of `roots` that it lies in.
pub(crate) fn strip_root<'a>(parts: &'a [String], roots: &[&Path]) -> Option<&'a [String]> {
    roots.iter().find_map(|root| {
        let root = split(root.to_str()?).ok()?.parts;
        let head = parts.get(..root.len())?;
        let same = head.iter().zip(&root).all(|(a, b)| same_name(a, b));
        if same { parts.get(root.len()..) } else { None }
    })
}

/// Judges the parts of a path to an existing file, which may have names that this program
/// would not give: hidden parts, devices and streams are refused, nothing else.
pub(crate) fn judge_existing(parts: &[String]) -> Result<(), Refusal> {
    for part in parts {
        if part.starts_with('.') {
            return Err(Refusal::Hidden);
        }
        if cfg!(windows) {
            judge(part)?;
        }
    }
    Ok(())
}

/// Control characters, and the invisible ones that can hide or reorder text.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// True when `path` (absolute, links resolved) is a place no asset belongs: the root of a
/// disk, a folder of the system, or one that holds keys or a repository's insides.
pub(crate) fn is_system_folder(path: &str, windows: bool) -> bool {
    /// These and everything below them.
    const TREES: [&str; 15] = [
        "bin",
        "boot",
        "dev",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "proc",
        "sbin",
        "sys",
        "system",
        "library",
        "private/etc",
        "applications",
    ];
    /// These alone: homes and temporary folders lie below them.
    const ALONE: [&str; 9] =
        ["home", "users", "var", "private", "private/var", "run", "volumes", "mnt", "media"];
    const WINDOWS_TREES: [&str; 5] =
        ["windows", "program files", "program files (x86)", "programdata", "$recycle.bin"];
    const PRIVATE: [&str; 4] = [".git", ".ssh", ".gnupg", ".layer-mcp"];

    let lower = path.replace('\\', "/").to_lowercase();
    let lower = lower.strip_prefix("//?/").unwrap_or(&lower);
    let mut parts: Vec<&str> =
        lower.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if windows && has_drive(lower) {
        parts.remove(0);
    }
    let whole = parts.join("/");
    let within =
        |tree: &str| whole.strip_prefix(tree).is_some_and(|r| r.is_empty() || r.starts_with('/'));
    if whole.is_empty() || parts.iter().any(|part| PRIVATE.contains(part)) {
        return true;
    }
    if windows {
        return whole == "users" || WINDOWS_TREES.into_iter().any(within);
    }
    // FreeBSD keeps homes in /usr/home; /dev/shm is memory that every program may use.
    TREES.into_iter().any(|tree| within(tree) && !within("dev/shm"))
        || (within("usr") && !whole.starts_with("usr/home/"))
        || ALONE.contains(&whole.as_str())
}

pub(super) fn judge_all(parts: &[String]) -> Result<(), Refusal> {
    const LONGEST: usize = 1024;
    let length: usize = parts.iter().map(|part| part.len() + 1).sum();
    if length > LONGEST {
        return Err(Refusal::TooLong);
    }
    parts.iter().try_for_each(|part| judge(part))
}

pub(super) fn judge(part: &str) -> Result<(), Refusal> {
    /// Leaves room for `-12` and another extension within the 255 bytes of common disks.
    const LONGEST: usize = 240;
    if part.len() > LONGEST {
        Err(Refusal::TooLong)
    } else if part.contains(['<', '>', ':', '"', '|', '?', '*']) {
        Err(Refusal::Character)
    } else if part.starts_with('.') {
        Err(Refusal::Hidden)
    } else if part.starts_with(['-', '~']) || part.starts_with(char::is_whitespace) {
        Err(Refusal::Start)
    } else if part.ends_with('.') || part.ends_with(char::is_whitespace) {
        Err(Refusal::End)
    } else if is_device(part) {
        Err(Refusal::Device)
    } else if is_short_name(part) {
        Err(Refusal::ShortName)
    } else {
        Ok(())
    }
}

/// `CON`, `nul.png`, `COM1 .txt`, `LPT²`: Windows opens a device, whatever the extension.
pub(super) fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end().to_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$") {
        return true;
    }
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    port.is_some_and(|n| {
        let mut digits = n.chars();
        let one = digits.next().is_some_and(|c| matches!(c, '0'..='9' | '¹' | '²' | '³'));
        one && digits.next().is_none()
    })
}

/// `GIT~1`, `LAYER-~1.MCP`: on Windows such a name can reach a hidden folder.
fn is_short_name(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part);
    stem.len() <= 8
        && stem.rsplit_once('~').is_some_and(|(head, number)| {
            !head.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
        })
}

fn has_drive(path: &str) -> bool {
    let mut bytes = path.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.next() == Some(b':')
        && matches!(bytes.next(), Some(b'/') | None)
}

fn same_name(a: &str, b: &str) -> bool {
    if cfg!(windows) { a.to_lowercase() == b.to_lowercase() } else { a == b || a.nfc().eq(b.nfc()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_system_are_known() {
        for path in [
            "/",
            "//",
            "/bin",
            "/usr",
            "/usr/local/share",
            "/etc",
            "/etc/x",
            "/dev",
            "/proc/1",
            "/home",
            "/Users",
            "/System/Library",
            "/Library",
            "/private/etc",
            "/var",
            "/lib64",
            "/home/a/.ssh",
            "/home/a/game/.git",
            "/home/a/game/.git/hooks",
            "/home/a/.layer-mcp",
        ] {
            assert!(is_system_folder(path, false), "{path}");
        }
        for path in [
            "/home/a",
            "/home/a/game",
            "/root",
            "/Users/a/Pictures/Layer",
            "/tmp/x",
            "/var/tmp/x",
            "/private/var/folders/x",
            "/usr/home/a/game",
            "/dev/shm/x",
            "/binary",
            "/etcetera",
            "/mnt/disk",
            "/srv/game",
            "/home/a/.cache/x",
            "/Volumes/Usb/game",
        ] {
            assert!(!is_system_folder(path, false), "{path}");
        }
        for path in [
            "C:\\",
            "C:",
            "d:\\",
            "\\\\?\\C:\\",
            "C:\\Windows",
            "c:\\windows\\system32",
            "C:\\Program Files\\x",
            "\\\\?\\C:\\ProgramData",
            "C:\\Users",
        ] {
            assert!(is_system_folder(path, true), "{path}");
        }
        for path in ["C:\\Users\\a", "D:\\game", "C:\\windowsill", "\\\\?\\D:\\game"] {
            assert!(!is_system_folder(path, true), "{path}");
        }
    }
}
