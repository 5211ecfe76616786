//! What the text of a reference names, before anything is looked for.

use std::path::Path;

use percent_encoding::percent_decode_str;

use crate::files::is_pattern;
use crate::journal::JobId;
use crate::layer::FileId;
use crate::redact::clean_line;

/// What a reference names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A file of the output folder.
    Path(String),
    /// Several of them.
    Pattern(String),
    /// A file that a job made: its number, from 0.
    OfJob(JobId, usize),
    /// A file at Layer.
    AtLayer(FileId),
    /// An https address.
    Address(Address),
}

/// An https address. Only its host is ever shown: the rest may be signed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) text: String,
    pub(super) host: String,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "https://{}/…", self.host)
    }
}

impl Named {
    /// Reads a reference. The error says what is wrong and what to give instead.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("a reference can't be empty".to_owned());
        }
        let (job, number) = text.split_once('#').unwrap_or((text, "1"));
        if let Ok(id) = job.parse::<JobId>() {
            let number = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            return number
                .map(|number| Self::OfJob(id, number))
                .ok_or_else(|| "after `#` stands the number of the file, such as `#2`".to_owned());
        }
        if is_uuid(text)
            && let Ok(file) = text.parse::<FileId>()
        {
            return Ok(Self::AtLayer(file));
        }
        match scheme(text).as_deref() {
            Some("https") => {
                let host = url::Url::parse(text).ok();
                let host = host.as_ref().and_then(url::Url::host_str).map(str::to_owned);
                let host = host.ok_or_else(|| "the address has no host".to_owned())?;
                Ok(Self::Address(Address { text: text.to_owned(), host }))
            }
            Some("file") => path_of(text).map(Self::Path),
            Some("data") => Err("data addresses are not taken. Save the file into the project \
                                 first, then give its path"
                .to_owned()),
            Some(scheme @ ("attachment" | "blob" | "sandbox")) => {
                Err(elsewhere(&format!("{scheme}:…")))
            }
            Some(scheme) if text.contains("://") => Err(format!(
                "`{}:` addresses are not fetched. Save the file into the project first, then give \
                 its path",
                clean_line(scheme, 20)
            )),
            _ if is_pattern(text) => Ok(Self::Pattern(text.to_owned())),
            _ => Ok(Self::Path(text.to_owned())),
        }
    }
}

/// The word before the first colon, in small letters; one letter is a disk of Windows.
fn scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once(':')?;
    let plain = scheme.len() > 1
        && scheme.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'-' | b'.'));
    plain.then(|| scheme.to_ascii_lowercase())
}

/// The path of a `file:` URI. It is judged as any other path afterwards.
fn path_of(uri: &str) -> Result<String, String> {
    let refused = || "a `file:` address looks like `file:///home/me/game/art/hero.png`".to_owned();
    let rest = uri.get("file:".len()..).and_then(|rest| rest.strip_prefix("//"));
    let rest = rest.ok_or_else(refused)?;
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    if !rest.starts_with('/') {
        return Err(refused());
    }
    let path = percent_decode_str(rest).decode_utf8().map_err(|_| refused())?.into_owned();
    Ok(match path.strip_prefix('/') {
        Some(disk) if cfg!(windows) && disk.get(1..2) == Some(":") => disk.to_owned(),
        _ => path,
    })
}

/// A file that only the client or another service has: the text, and what to do instead.
pub(super) fn client_s_own(path: &str, folder: &Path) -> Option<String> {
    const FOLDERS: [&str; 5] =
        ["/mnt/user-data/", "/mnt/data/", "/home/claude/", "/tmp/inputs/", "/workspace/"];
    let path = path.trim();
    // What is there on this computer is an ordinary path.
    let missing = || !Path::new(path).exists() && !folder.join(path).exists();
    let within = FOLDERS
        .iter()
        .any(|folder| path.starts_with(folder) || Some(path) == folder.strip_suffix('/'));
    let of_a_service = path.strip_prefix("file-").or(path.strip_prefix("file_"));
    let of_a_service = of_a_service.is_some_and(|id| {
        id.len() >= 6 && id.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-')
    });
    if of_a_service && missing() {
        let shown = clean_line(path, 200);
        return Some(format!(
            "`{shown}` is the id of a file at another service, which Layer does not know. Ask the \
             user to save the file below `{}`, then give its name there",
            folder.display()
        ));
    }
    (within && missing()).then(|| {
        elsewhere(&clean_line(path, 200))
            .replace("into the project", &format!("below `{}`", folder.display()))
    })
}

fn elsewhere(shown: &str) -> String {
    format!(
        "`{shown}` exists only in the client's own sandbox, and this server runs on the user's \
         computer. Ask the user to save the file into the project, then give its name there"
    )
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_names_one_thing() {
        let path = |text: &str| Named::Path(text.to_owned());
        let uuid = "8c1f0e9d-8c7b-4a5f-9e00-0123456789ab";
        for (text, named) in [
            ("art/hero.png", path("art/hero.png")),
            (" art/hero.png ", path("art/hero.png")),
            ("art/a#2.png", path("art/a#2.png")),
            ("a:b.png", path("a:b.png")),
            ("art/**/*.png", Named::Pattern("art/**/*.png".to_owned())),
            ("art/{a,b}.png", Named::Pattern("art/{a,b}.png".to_owned())),
            ("file:///game/a%20b.png", path("/game/a b.png")),
            ("FILE://localhost/game/%C3%A4.png", path("/game/ä.png")),
            ("file:///game/%2e%2e/x.png", path("/game/../x.png")),
            ("file:///game/*.png", path("/game/*.png")),
            (uuid, Named::AtLayer(uuid.parse().unwrap())),
            ("job_1f0e9d8c7b6a5f4e#2", Named::OfJob("job_1f0e9d8c7b6a5f4e".parse().unwrap(), 1)),
        ] {
            assert_eq!(Named::parse(text).unwrap(), named, "{text}");
        }
        let address = Named::parse("HTTPS://CDN.example/a*.png?X-Goog-Signature=abc").unwrap();
        assert!(matches!(&address, Named::Address(it) if it.host == "cdn.example"));
        assert!(!format!("{address:?}").contains("abc"));
        for (text, said) in [
            ("", "empty"),
            ("job_1f0e9d8c7b6a5f4e#0", "number"),
            ("http://cdn.example/a.png", "not fetched"),
            ("ftp://cdn.example/a.png", "not fetched"),
            ("data:image/png;base64,AAAA", "not taken"),
            ("DATA:image/png;base64,AAAA", "not taken"),
            ("blob:https://chat.example/1-2", "client's own sandbox"),
            ("attachment:x.png", "client's own sandbox"),
            ("sandbox:/mnt/data/x.png", "client's own sandbox"),
            ("https://", "no host"),
            ("file:x.png", "file:///"),
            ("file://elsewhere/x.png", "file:///"),
            ("file:///%ff.png", "file:///"),
        ] {
            let error = Named::parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn what_only_the_client_has_is_told_from_what_is_here() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file-abc123"), "here").unwrap();
        for text in [
            "/mnt/user-data/uploads/x.png",
            "/mnt/user-data/uploads",
            "/tmp/inputs/x.png",
            "/workspace/none-of-this/x.png",
            "file-Xy12Zw34",
        ] {
            let said = client_s_own(text, folder.path()).unwrap();
            assert!(said.contains(&folder.path().display().to_string()), "{said}");
        }
        for text in ["art/x.png", "/workspaces/x.png", "file-abc123", "file-x.png", "file-1"] {
            assert_eq!(client_s_own(text, folder.path()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(https|file|data|job_|file-)?[:/]{0,3}.{0,30}") {
            if let Err(error) = Named::parse(&text) {
                prop_assert!(!error.is_empty());
            }
        }
    }
}
