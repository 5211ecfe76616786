//! How each client is best served, by the name that it gives itself.
//!
//! One table, [`PROFILES`]: a row a client, with the reason for each choice and where it is known
//! from. The list of tools is the same for all of them; only answers differ. A client that is in no
//! row gets [`CAREFUL`]. `layer-mcp doctor --client NAME` shows a row and tries it.

use std::time::Duration;

use rmcp::model::{Implementation, ProtocolVersion};

use crate::files::PreviewLimits;

/// Where a choice is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Seen on the wire, with the client itself.
    Measured,
    /// Read in its source.
    Source,
    /// From its documentation or its issue tracker.
    Documented,
    /// Not known; what does least harm.
    Unknown,
}

impl Evidence {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Source => "source",
            Self::Documented => "documented",
            Self::Unknown => "unknown",
        }
    }
}

/// Why something is chosen.
#[derive(Clone, Copy, Debug)]
pub struct Reason {
    /// What the choice is about.
    pub choice: &'static str,
    /// What the client does.
    pub why: &'static str,
    /// Where that is known from.
    pub evidence: Evidence,
}

const fn reason(choice: &'static str, evidence: Evidence, why: &'static str) -> Reason {
    Reason { choice, why, evidence }
}

/// Which JSON Schema a client passes on to its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// All of JSON Schema.
    Full,
    /// What a function declaration of OpenAI's may have; the rest is dropped or refused.
    OpenAi,
    /// The part of OpenAPI 3.0 that Gemini takes.
    Gemini,
}

impl Dialect {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "JSON Schema",
            Self::OpenAi => "OpenAI functions",
            Self::Gemini => "Gemini functions",
        }
    }

    /// The keywords that make a client or its model refuse a tool, or that it misreads.
    pub fn refused(self) -> &'static [&'static str] {
        match self {
            Self::Full => &["$ref", "$defs"],
            Self::OpenAi => &["$ref", "$defs", "oneOf", "allOf", "not", "prefixItems"],
            Self::Gemini => &[
                "$ref",
                "$defs",
                "$schema",
                "oneOf",
                "allOf",
                "not",
                "prefixItems",
                "patternProperties",
                "const",
            ],
        }
    }
}

/// How one client is served.
#[derive(Clone, Copy, Debug)]
pub struct ClientProfile {
    /// The product's name.
    pub client: &'static str,
    /// Its name on the command line.
    pub slug: &'static str,
    /// How it begins what it calls itself (`clientInfo.name`), in lower case.
    known_as: &'static [&'static str],
    /// The first version that the row is for (`clientInfo.version`).
    since: Option<[u32; 3]>,
    /// How large a picture in an answer may be; `None` for a client that can't show any.
    pub picture: Option<PreviewLimits>,
    /// Whether a new picture comes with the data about it. Only for clients that are known to keep
    /// it beside structured content.
    pub picture_beside_data: bool,
    /// Whether data come as structured content as well as text.
    pub structured: bool,
    /// Whether the text beside structured content is the same JSON, or only its sentence.
    pub repeats: bool,
    /// Whether it is told all that there is to tell about the server, or one paragraph.
    pub instructions: bool,
    /// Whether a picture comes with a link to its file.
    pub links: bool,
    /// Whether its word that it shows forms is taken.
    pub forms: bool,
    /// The longest that a call blocks.
    pub wait: Duration,
    /// Which schemas its model takes.
    pub dialect: Dialect,
    /// What stands before a tool's name when its model sees it, with a server called `layer`.
    pub prefix: &'static str,
    /// The reason for each choice that is not the careful one.
    pub reasons: &'static [Reason],
}

/// The longest wait that fits into the 60 seconds after which most clients give up.
const USUAL_WAIT: Duration = Duration::from_secs(45);
/// For clients that are known to wait: long enough for most pictures and sounds, and short enough
/// to be heard of.
const LONG_WAIT: Duration = Duration::from_secs(100);
/// As large as a preview gets.
const WHOLE: PreviewLimits = PreviewLimits { max_px: 512, max_bytes: 100_000 };
/// A client that takes a picture for text has its model read every byte of it.
const SMALL: PreviewLimits = PreviewLimits { max_px: 384, max_bytes: 48_000 };

/// For clients that nothing is known of.
pub const CAREFUL: ClientProfile = ClientProfile {
    client: "any other client",
    slug: "other",
    known_as: &[],
    since: None,
    picture: Some(SMALL),
    picture_beside_data: false,
    structured: true,
    repeats: true,
    instructions: true,
    links: true,
    forms: true,
    wait: USUAL_WAIT,
    dialect: Dialect::Gemini,
    prefix: "mcp__layer__",
    reasons: &[
        reason("picture", Evidence::Unknown, "a client that takes it for text pays by the byte"),
        reason("picture_beside_data", Evidence::Unknown, "some drop it, some show it twice"),
        reason(
            "structured",
            Evidence::Source,
            "the official SDKs refuse an answer without it; the text beside it says the same",
        ),
        reason("repeats", Evidence::Source, "older clients know nothing but the text"),
        reason("instructions", Evidence::Documented, "put before the tools, or left out"),
        reason("links", Evidence::Source, "sent from revision 2025-06-18 on, which has them"),
        reason("forms", Evidence::Source, "shown when the client declares that it can"),
        reason("wait", Evidence::Source, "the official TypeScript SDK gives up after 60 seconds"),
        reason("dialect", Evidence::Documented, "the narrowest of those that are known"),
    ],
};

/// The clients that something is known of. Of rows with the same name the newest comes first.
pub const PROFILES: [ClientProfile; 12] = [
    ClientProfile {
        client: "Claude Code",
        slug: "claude-code",
        known_as: &["claude-code"],
        since: Some([2, 1, 330]),
        picture: Some(WHOLE),
        picture_beside_data: true,
        wait: LONG_WAIT,
        dialect: Dialect::Full,
        reasons: &[
            reason("picture", Evidence::Measured, "its model sees it, and the path of a copy"),
            reason(
                "picture_beside_data",
                Evidence::Measured,
                "it keeps pictures beside structured content and drops only the text",
            ),
            reason("links", Evidence::Measured, "its model sees name and address"),
            reason(
                "forms",
                Evidence::Measured,
                "shows them; without a terminal it cancels at once",
            ),
            reason(
                "wait",
                Evidence::Measured,
                "it gives up after hours, and puts a call aside after 120 seconds",
            ),
            reason("dialect", Evidence::Measured, "passes schemas on as they are"),
        ],
        ..CAREFUL
    },
    ClientProfile {
        client: "Claude Code before 2.1.330",
        slug: "claude-code-old",
        known_as: &["claude-code"],
        picture: Some(WHOLE),
        wait: LONG_WAIT,
        dialect: Dialect::Full,
        reasons: &[
            reason("picture", Evidence::Documented, "its model sees pictures"),
            reason("picture_beside_data", Evidence::Unknown, "never tried with these versions"),
            reason("wait", Evidence::Source, "it gives up after hours"),
            reason("dialect", Evidence::Documented, "passes schemas on as they are"),
        ],
        ..CAREFUL
    },
    ClientProfile {
        client: "Codex",
        slug: "codex",
        known_as: &["codex"],
        picture: Some(WHOLE),
        repeats: false,
        instructions: false,
        dialect: Dialect::OpenAi,
        reasons: &[
            reason("picture", Evidence::Measured, "its model sees it where there are no data"),
            reason(
                "picture_beside_data",
                Evidence::Measured,
                "it shows its model the structured content and nothing else",
            ),
            reason("structured", Evidence::Measured, "by name, all that its model sees of data"),
            reason("repeats", Evidence::Measured, "in its code mode, its model sees both forms"),
            reason(
                "instructions",
                Evidence::Measured,
                "stand behind each tool's description: a search for a word finds all tools or none",
            ),
            reason("links", Evidence::Measured, "its model sees them as JSON"),
            reason("forms", Evidence::Measured, "declared; `codex exec` declines at once"),
            reason("wait", Evidence::Documented, "60 seconds a tool, unless configured otherwise"),
            reason("dialect", Evidence::Measured, "drops defaults and lengths"),
        ],
        ..CAREFUL
    },
    ClientProfile {
        client: "Gemini CLI",
        slug: "gemini-cli",
        known_as: &["gemini-cli", "gemini"],
        picture: Some(WHOLE),
        picture_beside_data: true,
        wait: LONG_WAIT,
        prefix: "mcp_layer_",
        reasons: &[
            reason("picture", Evidence::Source, "its model sees it"),
            reason(
                "picture_beside_data",
                Evidence::Source,
                "it ignores structured content and shows text and pictures",
            ),
            reason("structured", Evidence::Source, "its SDK refuses an answer without it"),
            reason("forms", Evidence::Measured, "it declares none"),
            reason("wait", Evidence::Source, "10 minutes"),
            reason("dialect", Evidence::Source, "function names are cut at 64 characters"),
        ],
        ..CAREFUL
    },
    ClientProfile {
        client: "Claude Desktop",
        slug: "claude-desktop",
        known_as: &["claude-ai", "claude-desktop", "local-agent-mode"],
        picture: Some(WHOLE),
        dialect: Dialect::Full,
        reasons: &[
            reason("picture", Evidence::Documented, "shown to model and user, up to 1 MB"),
            reason("forms", Evidence::Documented, "it declares none"),
            reason("dialect", Evidence::Documented, "passes schemas on as they are"),
            reason(
                "wait",
                Evidence::Documented,
                "gives up after 60 seconds in some of its modes, whatever progress is told",
            ),
        ],
        ..CAREFUL
    },
    ClientProfile {
        client: "Cursor",
        slug: "cursor",
        known_as: &["cursor"],
        picture: Some(WHOLE),
        dialect: Dialect::OpenAi,
        reasons: &[
            reason("picture", Evidence::Documented, "shown to models that see"),
            reason("forms", Evidence::Documented, "supported"),
            reason("dialect", Evidence::Documented, "it serves models of several makers"),
        ],
        ..CAREFUL
    },
    ClientProfile {
        client: "VS Code",
        slug: "vscode",
        known_as: &["visual studio code", "visual-studio-code", "vscode"],
        picture: Some(WHOLE),
        dialect: Dialect::OpenAi,
        reasons: &[
            reason("picture", Evidence::Documented, "shown to models that see"),
            reason("forms", Evidence::Documented, "supported"),
            reason("dialect", Evidence::Documented, "it serves models of several makers"),
        ],
        ..CAREFUL
    },
    ClientProfile {
        client: "Windsurf",
        slug: "windsurf",
        known_as: &["windsurf"],
        reasons: &[reason("picture", Evidence::Unknown, "tools alone are documented")],
        ..CAREFUL
    },
    ClientProfile {
        client: "Zed",
        slug: "zed",
        known_as: &["zed"],
        links: false,
        reasons: &[
            reason("links", Evidence::Documented, "it has tools and prompts, and no resources"),
            reason("forms", Evidence::Documented, "it declares none"),
        ],
        ..CAREFUL
    },
    ClientProfile {
        client: "opencode",
        slug: "opencode",
        known_as: &["opencode"],
        reasons: &[reason(
            "picture_beside_data",
            Evidence::Documented,
            "some versions show text alone, others structured content alone",
        )],
        ..CAREFUL
    },
    ClientProfile {
        client: "MCP Inspector",
        slug: "inspector",
        known_as: &["mcp-inspector", "inspector", "mcpdo"],
        picture: Some(WHOLE),
        picture_beside_data: true,
        dialect: Dialect::Full,
        reasons: &[
            reason("picture", Evidence::Measured, "shows answers as they come"),
            reason("picture_beside_data", Evidence::Measured, "shows answers as they come"),
            reason("wait", Evidence::Measured, "gives up after 60 seconds"),
            reason("dialect", Evidence::Measured, "shows schemas as they come"),
        ],
        ..CAREFUL
    },
    CAREFUL,
];

impl ClientProfile {
    /// The row for a client.
    pub fn of(client: Option<&Implementation>) -> &'static Self {
        client.map_or(&CAREFUL, |client| Self::by_name(&client.name, Some(&client.version)))
    }

    /// The row for what a client calls itself, or for its name on the command line. Without a
    /// version, the newest is meant.
    pub fn by_name(name: &str, version: Option<&str>) -> &'static Self {
        let name = name.trim().to_lowercase();
        let version = version.map(numbers);
        if let Some(row) = PROFILES.iter().find(|row| version.is_none() && row.slug == name) {
            return row;
        }
        let named = |row: &&Self| row.known_as.iter().any(|known| name.starts_with(known));
        let new_enough = |row: &&Self| match (row.since, version) {
            (Some(since), Some(version)) => version >= since,
            _ => true,
        };
        PROFILES.iter().filter(named).find(new_enough).unwrap_or(&CAREFUL)
    }

    /// What the client calls itself; `name` for those that nothing is known of.
    pub fn calls_itself(&self, name: &str) -> String {
        self.known_as.first().map_or_else(|| name.to_owned(), |known| (*known).to_owned())
    }

    /// A version that the row is for.
    pub fn first_version(&self) -> String {
        let [major, minor, patch] = self.since.unwrap_or_default();
        format!("{major}.{minor}.{patch}")
    }

    /// Whether an answer to this client may have resource links.
    pub(super) fn takes_links(&self, version: Option<&ProtocolVersion>) -> bool {
        // Older clients fail on a kind of content that they don't know.
        self.links && version.is_some_and(|version| *version >= ProtocolVersion::V_2025_06_18)
    }
}

/// The first three numbers of a version; what is no number is 0.
fn numbers(version: &str) -> [u32; 3] {
    let mut parts = version.trim().trim_start_matches('v').split(['.', '-', '+', ' ']);
    std::array::from_fn(|_| parts.next().and_then(|part| part.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(name: &str, version: &str) -> &'static str {
        ClientProfile::of(Some(&Implementation::new(name, version))).slug
    }

    #[test]
    fn a_client_is_known_by_name_and_version() {
        for (name, version, row) in [
            ("claude-code", "2.1.330", "claude-code"),
            ("claude-code", "2.2.0", "claude-code"),
            ("claude-code", "2.1.197", "claude-code-old"),
            ("claude-code", "what", "claude-code-old"),
            ("codex-mcp-client", "0.169.0", "codex"),
            ("gemini-cli-mcp-client-layer", "0.61.0", "gemini-cli"),
            ("claude-ai", "0.1.0", "claude-desktop"),
            ("Visual Studio Code", "1.120.0", "vscode"),
            ("cursor-vscode", "1.0.0", "cursor"),
            ("Zed", "0.200.0", "zed"),
            ("windsurf-client", "1.0.0", "windsurf"),
            ("mcp", "0.1.0", "other"),
            ("", "", "other"),
        ] {
            assert_eq!(slug(name, version), row, "{name} {version}");
        }
        assert_eq!(ClientProfile::of(None).slug, "other");
        assert_eq!(ClientProfile::by_name("claude-code", None).slug, "claude-code");
        assert_eq!(ClientProfile::by_name("claude-desktop", None).slug, "claude-desktop");
    }

    #[test]
    fn no_row_is_hidden_and_none_goes_beyond_what_a_preview_may_be() {
        for row in &PROFILES {
            assert_eq!(ClientProfile::by_name(row.slug, None).slug, row.slug);
            assert!(!row.reasons.is_empty(), "{}", row.client);
            assert!(row.wait <= Duration::from_secs(110), "{}", row.client);
            if let Some(picture) = row.picture {
                let most = PreviewLimits::default();
                assert!(picture.max_px <= most.max_px && picture.max_bytes <= most.max_bytes);
            }
        }
    }

    #[test]
    fn whatever_differs_from_the_careful_choice_has_its_reason() {
        for row in &PROFILES {
            let differs = [
                ("picture", row.picture != CAREFUL.picture),
                ("picture_beside_data", row.picture_beside_data != CAREFUL.picture_beside_data),
                ("structured", row.structured != CAREFUL.structured),
                ("repeats", row.repeats != CAREFUL.repeats),
                ("instructions", row.instructions != CAREFUL.instructions),
                ("links", row.links != CAREFUL.links),
                ("forms", row.forms != CAREFUL.forms),
                ("wait", row.wait != CAREFUL.wait),
                ("dialect", row.dialect != CAREFUL.dialect),
            ];
            for (choice, differs) in differs {
                let reasoned = row.reasons.iter().any(|reason| reason.choice == choice);
                assert!(!differs || reasoned, "{}: {choice} has no reason", row.client);
            }
        }
    }
}
