//! The clients: their names, their files on each system, and what they want to read there.
//!
//! The one place that knows the files. Where each fact comes from stands beside it; *run* means
//! that the client's own command line was watched (`.ci/connect.py`), the rest follows the
//! clients' documentation.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A program that starts MCP servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Anthropic's desktop chat.
    ClaudeDesktop,
    /// Anthropic's agent for the terminal.
    ClaudeCode,
    /// The Cursor editor.
    Cursor,
    /// Visual Studio Code with Copilot.
    VsCode,
    /// The Windsurf editor.
    Windsurf,
    /// The Zed editor.
    Zed,
    /// OpenAI's agent for the terminal.
    Codex,
    /// Google's agent for the terminal.
    GeminiCli,
}

/// A family of operating systems, by where programs keep their files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux and other systems that follow the XDG folders.
    Linux,
    /// macOS.
    MacOs,
    /// Windows.
    Windows,
}

impl Os {
    /// The one that this program was built for.
    pub const fn here() -> Self {
        if cfg!(windows) {
            Self::Windows
        } else if cfg!(target_os = "macos") {
            Self::MacOs
        } else {
            Self::Linux
        }
    }
}

/// For whom an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// For this user, everywhere.
    User,
    /// For a project; the file lies in it and is often shared.
    Project,
    /// For this user in one project: Claude Code's `local`, which `claude mcp add` writes.
    Local,
}

impl Scope {
    /// The word for scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Project => "project",
            Self::Local => "local",
        }
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON, with comments and trailing commas where somebody put them.
    Json,
    /// TOML.
    Toml,
}

/// A place in a file that may hold an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Whose file it is.
    pub client: Client,
    /// For whom its entries hold.
    pub scope: Scope,
    /// The file; absolute when the folders of [`Places`] are.
    pub file: PathBuf,
    /// How it is written.
    pub format: Format,
    /// The keys that lead to the entries.
    pub path: Vec<String>,
}

/// The folders of this machine that clients' files lie below. Variables that are unset or relative
/// are `None`.
#[derive(Clone, Debug)]
pub struct Places {
    /// The operating system.
    pub os: Os,
    /// The user's home folder.
    pub home: PathBuf,
    /// `APPDATA`.
    pub app_data: Option<PathBuf>,
    /// `LOCALAPPDATA`.
    pub local_app_data: Option<PathBuf>,
    /// Names of the folders in `%LOCALAPPDATA%\Packages`: programs from Windows packages see a
    /// folder of their own in place of `APPDATA`.
    pub packages: Vec<String>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `CLAUDE_CONFIG_DIR`.
    pub claude_config_dir: Option<PathBuf>,
    /// `CODEX_HOME`.
    pub codex_home: Option<PathBuf>,
    /// `GEMINI_CLI_HOME`.
    pub gemini_cli_home: Option<PathBuf>,
    /// The project around the working directory.
    pub project: Option<PathBuf>,
}

#[cfg(test)]
impl Places {
    /// A home folder and nothing else.
    pub(crate) fn bare(os: Os, home: impl Into<PathBuf>) -> Self {
        Self {
            os,
            home: home.into(),
            app_data: None,
            local_app_data: None,
            packages: Vec::new(),
            xdg_config_home: None,
            claude_config_dir: None,
            codex_home: None,
            gemini_cli_home: None,
            project: None,
        }
    }
}

/// The text names no client.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clients are {}", Client::ALL.map(Client::name).join(", "))]
pub struct NotAClient;

impl FromStr for Client {
    type Err = NotAClient;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().to_ascii_lowercase().replace([' ', '_'], "-");
        let known = Self::ALL
            .into_iter()
            .find(|client| client.name() == text || client.other_names().contains(&text.as_str()));
        known.ok_or(NotAClient)
    }
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ClaudeDesktop,
        Self::ClaudeCode,
        Self::Cursor,
        Self::VsCode,
        Self::Windsurf,
        Self::Zed,
        Self::Codex,
        Self::GeminiCli,
    ];

    /// The word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "claude-desktop",
            Self::ClaudeCode => "claude-code",
            Self::Cursor => "cursor",
            Self::VsCode => "vscode",
            Self::Windsurf => "windsurf",
            Self::Zed => "zed",
            Self::Codex => "codex",
            Self::GeminiCli => "gemini-cli",
        }
    }

    const fn other_names(self) -> &'static [&'static str] {
        match self {
            Self::ClaudeDesktop => &["claudedesktop"],
            Self::ClaudeCode => &["claudecode"],
            Self::VsCode => &["vs-code", "code", "visual-studio-code"],
            Self::Codex => &["codex-cli"],
            Self::GeminiCli => &["gemini"],
            Self::Cursor | Self::Windsurf | Self::Zed => &[],
        }
    }

    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "Claude Desktop",
            Self::ClaudeCode => "Claude Code",
            Self::Cursor => "Cursor",
            Self::VsCode => "VS Code",
            Self::Windsurf => "Windsurf",
            Self::Zed => "Zed",
            Self::Codex => "Codex",
            Self::GeminiCli => "Gemini CLI",
        }
    }

    /// The key and the value by which it knows a server that is a program.
    pub(super) const fn kind_field(self) -> Option<(&'static str, &'static str)> {
        match self {
            // As `claude mcp add` writes it: run.
            Self::ClaudeCode | Self::VsCode => Some(("type", "stdio")),
            Self::Zed => Some(("source", "custom")),
            _ => None,
        }
    }

    /// How many seconds it is to wait, by its keys, where it gives up too early by itself: a call
    /// may take 45 seconds, and several files are fetched after that.
    pub(super) const fn timeouts(self) -> &'static [(&'static str, u32)] {
        match self {
            // 10 and 60 by default.
            Self::Codex => &[("startup_timeout_sec", 30), ("tool_timeout_sec", 180)],
            _ => &[],
        }
    }

    /// The key that its entries stand below.
    const fn list_key(self) -> &'static str {
        match self {
            Self::VsCode => "servers",
            Self::Zed => "context_servers",
            Self::Codex => "mcp_servers",
            _ => "mcpServers",
        }
    }

    const fn format(self) -> Format {
        match self {
            Self::Codex => Format::Toml,
            _ => Format::Json,
        }
    }

    /// Its file in a project, relative to that.
    const fn project_file(self) -> Option<&'static str> {
        match self {
            Self::ClaudeCode => Some(".mcp.json"),
            Self::Cursor => Some(".cursor/mcp.json"),
            Self::VsCode => Some(".vscode/mcp.json"),
            Self::Zed => Some(".zed/settings.json"),
            Self::Codex => Some(".codex/config.toml"),
            Self::GeminiCli => Some(".gemini/settings.json"),
            Self::ClaudeDesktop | Self::Windsurf => None,
        }
    }

    /// Whether it starts servers of this scope in the folder of the project that is worked on.
    pub const fn starts_in_project(self, scope: Scope) -> bool {
        match self {
            // Started from the project's folder themselves.
            Self::ClaudeCode | Self::Codex | Self::GeminiCli => true,
            // The root folder, or the program's own.
            Self::ClaudeDesktop | Self::Windsurf => false,
            Self::Cursor | Self::VsCode | Self::Zed => !matches!(scope, Scope::User),
        }
    }

    /// What the user does next, after its file has changed.
    pub const fn next_step(self, scope: Scope) -> &'static str {
        match (self, scope) {
            (Self::ClaudeDesktop, _) => {
                "Quit Claude Desktop entirely (not only its window) and start it again."
            }
            (Self::ClaudeCode, Scope::Project) => {
                "Start `claude` in the project and allow the server; `/mcp` shows it."
            }
            (Self::ClaudeCode, _) => {
                "`claude mcp list` shows whether it connects; sessions that run need a restart."
            }
            (Self::Cursor, _) => {
                "Open Cursor's settings, MCP: the server is listed there with its tools."
            }
            (Self::VsCode, _) => {
                "Run \"MCP: List Servers\" from VS Code's command palette and start `layer`."
            }
            (Self::Windsurf, _) => "Refresh the list of MCP servers in Windsurf's Cascade panel.",
            (Self::Zed, _) => {
                "Open the settings of Zed's agent panel: the server's dot turns green."
            }
            (Self::Codex, Scope::Project) => {
                "Start `codex` in the project and trust it; `/mcp` shows the server."
            }
            (Self::Codex, _) => "`codex mcp list` shows it; start `codex` anew.",
            (Self::GeminiCli, _) => "`gemini mcp list` shows whether it connects.",
        }
    }
}

impl Places {
    /// Where a client keeps the entries of a scope. `None` where it has none, and for a project
    /// when there is no project.
    pub fn site(&self, client: Client, scope: Scope) -> Option<Site> {
        let list = || vec![client.list_key().to_owned()];
        let (file, path) = match scope {
            Scope::User => (self.user_file(client), list()),
            Scope::Project => {
                let below = Path::new(client.project_file()?);
                (self.project.as_ref()?.join(below), list())
            }
            // As Claude Code files it: run.
            Scope::Local if client == Client::ClaudeCode => {
                let project = self.project.as_ref()?.to_str()?.to_owned();
                let list = client.list_key().to_owned();
                (self.user_file(client), vec!["projects".to_owned(), project, list])
            }
            Scope::Local => return None,
        };
        Some(Site { client, scope, file, format: client.format(), path })
    }

    /// The sites of all clients, without Claude Code's local one, which is in the file of another.
    pub fn sites(&self) -> Vec<Site> {
        let all = Client::ALL.into_iter();
        all.flat_map(|client| [Scope::User, Scope::Project].map(|scope| self.site(client, scope)))
            .flatten()
            .collect()
    }

    /// A folder or file that is there when the client was used on this machine.
    pub fn trace(&self, client: Client) -> PathBuf {
        let file = self.user_file(client);
        match client {
            Client::ClaudeCode => file,
            // Below `User`.
            Client::VsCode => parent(&parent(&file)),
            // Other programs of Codeium have files beside it.
            _ => parent(&file),
        }
    }

    fn user_file(&self, client: Client) -> PathBuf {
        match client {
            Client::ClaudeDesktop => self.claude_desktop().join("claude_desktop_config.json"),
            // Run, with and without the variable.
            Client::ClaudeCode => match &self.claude_config_dir {
                Some(folder) => folder.join(".claude.json"),
                None => self.home.join(".claude.json"),
            },
            Client::Cursor => self.home.join(".cursor").join("mcp.json"),
            Client::VsCode => self.programs().join("Code").join("User").join("mcp.json"),
            Client::Windsurf => self.home.join(".codeium").join("windsurf").join("mcp_config.json"),
            // Zed keeps to `.config` on macOS too.
            Client::Zed => match self.os {
                Os::MacOs => self.home.join(".config").join("zed").join("settings.json"),
                Os::Linux => self.programs().join("zed").join("settings.json"),
                Os::Windows => self.programs().join("Zed").join("settings.json"),
            },
            // Run.
            Client::Codex => match &self.codex_home {
                Some(folder) => folder.join("config.toml"),
                None => self.home.join(".codex").join("config.toml"),
            },
            // Run: the variable stands for the home folder.
            Client::GeminiCli => {
                let home = self.gemini_cli_home.as_ref().unwrap_or(&self.home);
                home.join(".gemini").join("settings.json")
            }
        }
    }

    /// Claude Desktop comes to Windows as a package, which reads its own copy of the folder and
    /// never the other (anthropics/claude-code issues 25579 and 26073).
    fn claude_desktop(&self) -> PathBuf {
        let package = self.packages.iter().find(|name| name.starts_with("Claude_"));
        match (self.os, package) {
            (Os::Windows, Some(package)) => {
                let local = self.local_app_data.clone();
                let local = local.unwrap_or_else(|| self.home.join("AppData").join("Local"));
                let folder = local.join("Packages").join(package);
                folder.join("LocalCache").join("Roaming").join("Claude")
            }
            _ => self.programs().join("Claude"),
        }
    }

    /// Where most programs keep their settings.
    fn programs(&self) -> PathBuf {
        match self.os {
            Os::MacOs => self.home.join("Library").join("Application Support"),
            Os::Windows => match &self.app_data {
                Some(folder) => folder.clone(),
                None => self.home.join("AppData").join("Roaming"),
            },
            Os::Linux => match &self.xdg_config_home {
                Some(folder) => folder.clone(),
                None => self.home.join(".config"),
            },
        }
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_path_buf()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test")]

    use super::*;

    fn places(os: Os) -> Places {
        let home = match os {
            Os::Linux => "/home/ada",
            Os::MacOs => "/Users/ada",
            Os::Windows => "C:/Users/Ada",
        };
        Places { project: Some("/games/one".into()), ..Places::bare(os, home) }
    }

    fn user_files(places: &Places) -> Vec<String> {
        let site = |client| places.site(client, Scope::User).unwrap();
        let file = |client| site(client).file.to_str().unwrap().replace('\\', "/");
        Client::ALL.into_iter().map(file).collect()
    }

    #[test]
    fn each_system_has_its_own_files() {
        assert_eq!(
            user_files(&places(Os::Linux)),
            [
                "/home/ada/.config/Claude/claude_desktop_config.json",
                "/home/ada/.claude.json",
                "/home/ada/.cursor/mcp.json",
                "/home/ada/.config/Code/User/mcp.json",
                "/home/ada/.codeium/windsurf/mcp_config.json",
                "/home/ada/.config/zed/settings.json",
                "/home/ada/.codex/config.toml",
                "/home/ada/.gemini/settings.json",
            ]
        );
        assert_eq!(
            user_files(&places(Os::MacOs)),
            [
                "/Users/ada/Library/Application Support/Claude/claude_desktop_config.json",
                "/Users/ada/.claude.json",
                "/Users/ada/.cursor/mcp.json",
                "/Users/ada/Library/Application Support/Code/User/mcp.json",
                "/Users/ada/.codeium/windsurf/mcp_config.json",
                "/Users/ada/.config/zed/settings.json",
                "/Users/ada/.codex/config.toml",
                "/Users/ada/.gemini/settings.json",
            ]
        );
        assert_eq!(
            user_files(&places(Os::Windows)),
            [
                "C:/Users/Ada/AppData/Roaming/Claude/claude_desktop_config.json",
                "C:/Users/Ada/.claude.json",
                "C:/Users/Ada/.cursor/mcp.json",
                "C:/Users/Ada/AppData/Roaming/Code/User/mcp.json",
                "C:/Users/Ada/.codeium/windsurf/mcp_config.json",
                "C:/Users/Ada/AppData/Roaming/Zed/settings.json",
                "C:/Users/Ada/.codex/config.toml",
                "C:/Users/Ada/.gemini/settings.json",
            ]
        );
    }

    #[test]
    fn variables_move_the_files() {
        let moved = Places {
            app_data: Some("D:/Roaming".into()),
            local_app_data: Some("D:/Local".into()),
            packages: vec!["Microsoft_x".into(), "Claude_pzs8sxrjxfjjc".into()],
            xdg_config_home: Some("/cfg".into()),
            claude_config_dir: Some("/cc".into()),
            codex_home: Some("/cx".into()),
            gemini_cli_home: Some("/gm".into()),
            ..places(Os::Windows)
        };
        let files = user_files(&moved);
        assert_eq!(
            files[0],
            "D:/Local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude/\
             claude_desktop_config.json"
        );
        assert_eq!(files[1], "/cc/.claude.json");
        assert_eq!(files[3], "D:/Roaming/Code/User/mcp.json");
        assert_eq!(files[5], "D:/Roaming/Zed/settings.json");
        assert_eq!(files[6], "/cx/config.toml");
        assert_eq!(files[7], "/gm/.gemini/settings.json");
        let files = user_files(&Places { os: Os::Linux, ..moved });
        assert_eq!(files[0], "/cfg/Claude/claude_desktop_config.json");
        assert_eq!(files[3], "/cfg/Code/User/mcp.json");
        assert_eq!(files[5], "/cfg/zed/settings.json");
    }

    #[test]
    fn projects_have_files_of_some_clients() {
        let places = places(Os::Linux);
        let file = |client| {
            let site = places.site(client, Scope::Project)?;
            Some(site.file.to_str().unwrap().replace('\\', "/"))
        };
        let files: Vec<_> = Client::ALL.into_iter().map(file).collect();
        let files: Vec<_> = files.iter().map(Option::as_deref).collect();
        assert_eq!(
            files,
            [
                None,
                Some("/games/one/.mcp.json"),
                Some("/games/one/.cursor/mcp.json"),
                Some("/games/one/.vscode/mcp.json"),
                None,
                Some("/games/one/.zed/settings.json"),
                Some("/games/one/.codex/config.toml"),
                Some("/games/one/.gemini/settings.json"),
            ]
        );
        let local = places.site(Client::ClaudeCode, Scope::Local).unwrap();
        assert_eq!(local.path, ["projects", "/games/one", "mcpServers"]);
        let nowhere = Places { project: None, ..places };
        assert_eq!(nowhere.sites().len(), Client::ALL.len());
    }

    #[test]
    fn clients_go_by_several_names() {
        for client in Client::ALL {
            assert_eq!(client.name().parse(), Ok(client));
            assert_eq!(client.title().parse(), Ok(client));
        }
        assert_eq!("code".parse(), Ok(Client::VsCode));
        assert_eq!("Gemini".parse(), Ok(Client::GeminiCli));
        // It may be either of two.
        assert_eq!("claude".parse::<Client>(), Err(NotAClient));
    }
}
