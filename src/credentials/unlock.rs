//! Where the unlock secret comes from, on reading and on writing.
//!
//! The header of `key.bin` names one source, and that one is used: a source that is missing or
//! fails is an error, never a reason to try another. Nothing here asks a person, reads standard
//! input or opens a terminal.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::cipher;
use super::envelope::{GENERATION_LENGTH, Header};
use super::error::{LockedReason, StoreError};
use super::fsops::{self, Folder};
use super::keyring::{Keyring, KeyringProblem};
use super::lock::{self, LockMode};

/// What unlocks a store. The code stands in the header of both sealed files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnlockSource {
    /// A password that a person chose.
    Password,
    /// A random secret in the operating system's keyring.
    Keyring,
    /// A random secret in a file of this user, outside the store's folder: the default.
    Device,
}

impl UnlockSource {
    /// The byte that stands for this source in a header.
    pub const fn code(self) -> u8 {
        match self {
            Self::Password => 1,
            Self::Keyring => 2,
            Self::Device => 3,
        }
    }

    /// The source that a header's byte stands for.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Password),
            2 => Some(Self::Keyring),
            3 => Some(Self::Device),
            _ => None,
        }
    }

    /// The name of this source on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Keyring => "keyring",
            Self::Device => "device",
        }
    }

    /// Iterations of PBKDF2 that new stores get. A password needs many, because it can be
    /// guessed; a random secret of 256 bits cannot, and gets the format's floor.
    pub const fn iterations(self) -> u32 {
        match self {
            Self::Password => 600_000,
            Self::Keyring | Self::Device => 100_000,
        }
    }
}

impl fmt::Display for UnlockSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl std::str::FromStr for UnlockSource {
    type Err = UnlockError;

    /// Takes what stands after `--unlock`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "password" => Ok(Self::Password),
            "keyring" => Ok(Self::Keyring),
            "device" => Ok(Self::Device),
            _ => Err(UnlockError::Unknown),
        }
    }
}

/// Why a new store cannot be locked in the way that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// No such source.
    #[error("the unlock source is one of `device`, `password` and `keyring`")]
    Unknown,
    /// The password has fewer characters than a password needs.
    #[error(
        "the password has {found} characters and needs at least {}; 15 or more are better",
        NewPassword::MIN_CHARACTERS
    )]
    TooShort {
        /// Its length in characters.
        found: usize,
    },
    /// The password is longer than any source can hand over.
    #[error("the password is longer than {} bytes", NewPassword::MAX_BYTES)]
    TooLong,
    /// White space at an end, which the environment and some password managers do not keep.
    #[error("the password begins or ends with white space, which is easily lost")]
    SurroundingSpace,
    /// A character that cannot be typed or passed on.
    #[error("the password has a control character, such as a tab or a line end")]
    ControlCharacter,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
}

/// How a new store is to be locked.
#[derive(Debug)]
pub enum NewUnlock {
    /// By the device key in this file, which is made when it does not exist.
    Device(PathBuf),
    /// By a password.
    Password(NewPassword),
    /// By a new random secret in the operating system's keyring.
    Keyring,
}

impl NewUnlock {
    /// The source that the header will name.
    pub const fn source(&self) -> UnlockSource {
        match self {
            Self::Device(_) => UnlockSource::Device,
            Self::Password(_) => UnlockSource::Password,
            Self::Keyring => UnlockSource::Keyring,
        }
    }
}

/// A password that is good enough for a new store.
#[derive(Debug, Clone)]
pub struct NewPassword(SecretString);

impl NewPassword {
    /// Fewest characters of a password.
    pub const MIN_CHARACTERS: usize = 12;
    /// Most bytes of a password.
    pub const MAX_BYTES: usize = 1024;

    /// Accepts a password for a new store.
    ///
    /// # Errors
    ///
    /// [`UnlockError`] says which rule is broken and repeats nothing of the password.
    pub fn parse(password: &SecretString) -> Result<Self, UnlockError> {
        let text = normalised(password.expose_secret());
        if text.len() > Self::MAX_BYTES || password.expose_secret().len() > Self::MAX_BYTES {
            return Err(UnlockError::TooLong);
        }
        if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
            return Err(UnlockError::SurroundingSpace);
        }
        if text.chars().any(char::is_control) {
            return Err(UnlockError::ControlCharacter);
        }
        let found = text.chars().count();
        if found < Self::MIN_CHARACTERS {
            return Err(UnlockError::TooShort { found });
        }
        Ok(Self(SecretString::from(text.as_str())))
    }

    /// Makes a password of 130 random bits: 26 letters and digits, without those that look
    /// alike. It is to be shown once, on the terminal, through [`NewPassword::expose`].
    ///
    /// # Errors
    ///
    /// [`UnlockError::NoRandomness`] when the operating system gives no random bytes.
    pub fn generate() -> Result<Self, UnlockError> {
        const ALPHABET: [char; 32] = [
            '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 'g',
            'h', 'j', 'k', 'm', 'n', 'p', 'q', 'r', 's', 't', 'v', 'w', 'x', 'y', 'z',
        ];
        let bytes: Zeroizing<[u8; 26]> =
            Zeroizing::new(cipher::random().map_err(|_| UnlockError::NoRandomness)?);
        let mut text = Zeroizing::new(String::with_capacity(26));
        text.extend(bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32))));
        Ok(Self(SecretString::from(text.as_str())))
    }

    /// The password itself, for the one time that a generated one is shown.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// What a process was given to open stores with.
#[derive(Debug, Clone)]
pub struct UnlockOptions {
    /// Where the device key lies; see [`default_device_key_path`].
    pub device_key: PathBuf,
    /// Where a password would come from.
    pub password: PasswordSettings,
}

/// The three settings from which a process without a terminal gets a password. At most one may
/// be set; that is judged when a password is needed, so that a server can start regardless.
#[derive(Debug, Clone, Default)]
pub struct PasswordSettings {
    /// The password itself (`LAYER_MCP_PASSWORD`), as it is.
    pub value: Option<SecretString>,
    /// A file with the password (`LAYER_MCP_PASSWORD_FILE`), as private as the store itself.
    pub file: Option<PathBuf>,
    /// A command that prints the password (`LAYER_MCP_PASSWORD_COMMAND`).
    pub command: Option<PasswordCommand>,
}

impl PasswordSettings {
    /// The password that these settings give, judged as the password of a new store; `None` when
    /// none of them is set.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the password cannot be had, the inner [`UnlockError`] when it is not
    /// good enough.
    pub fn new_password(&self) -> Result<Option<Result<NewPassword, UnlockError>>, StoreError> {
        if !self.is_set() {
            return Ok(None);
        }
        let secret = self.read()?;
        let text = str::from_utf8(secret.bytes()).unwrap_or_default();
        Ok(Some(NewPassword::parse(&SecretString::from(text))))
    }

    /// Whether any of them is set.
    pub fn is_set(&self) -> bool {
        self.value.is_some() || self.file.is_some() || self.command.is_some()
    }

    /// The same password as a value, read once: a command may ask its user each time.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the password cannot be had.
    pub fn read_once(&self) -> Result<Self, StoreError> {
        let secret = self.read()?;
        let value = Some(SecretString::from(secret.text()));
        Ok(Self { value, file: None, command: None })
    }

    fn read(&self) -> Result<Secret, StoreError> {
        let set: Vec<&'static str> = [
            (self.value.is_some(), "LAYER_MCP_PASSWORD"),
            (self.file.is_some(), "LAYER_MCP_PASSWORD_FILE"),
            (self.command.is_some(), "LAYER_MCP_PASSWORD_COMMAND"),
        ]
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
        .collect();
        if let [first, second, ..] = set.as_slice() {
            return Err(LockedReason::TwoPasswords { first, second }.into());
        }
        if let Some(value) = &self.value {
            return Secret::from_password(value.expose_secret().as_bytes())
                .ok_or_else(|| LockedReason::NotAPassword("LAYER_MCP_PASSWORD").into());
        }
        if let Some(path) = &self.file {
            let bytes = fsops::read_private(path, MAX_PASSWORD_BYTES)?
                .ok_or_else(|| LockedReason::PasswordFileMissing(path.clone()))?;
            return Some(bytes)
                .filter(|bytes| bytes.len() <= MAX_PASSWORD_BYTES)
                .and_then(|bytes| Secret::from_password(&bytes))
                .ok_or_else(|| LockedReason::NotAPassword("LAYER_MCP_PASSWORD_FILE").into());
        }
        if let Some(command) = &self.command {
            let bytes = command.run(COMMAND_TIME)?;
            return Secret::from_password(&bytes)
                .ok_or_else(|| LockedReason::NotAPassword("LAYER_MCP_PASSWORD_COMMAND").into());
        }
        Err(LockedReason::NoPassword.into())
    }
}

/// A program that prints the store's password, for example a password manager's client.
///
/// It is started directly, without a shell, with no standard input and with an environment that
/// has none of this program's own variables.
#[derive(Clone)]
pub struct PasswordCommand {
    line: String,
    environment: Vec<(OsString, OsString)>,
    keeper: Option<(PathBuf, OsString)>,
}

impl PasswordCommand {
    /// Keeps a command line and the environment to start it in. Variables whose names begin with
    /// `LAYER_` are left out of the latter.
    ///
    /// The line is split at white space; single or double quotation marks keep a part together.
    /// Nothing else has a meaning: no variables, no backslashes, no pipes.
    pub fn new(
        line: impl Into<String>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let environment = environment
            .into_iter()
            .filter(|(name, _)| {
                let name = name.to_string_lossy();
                !name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("LAYER_"))
            })
            .collect();
        Self { line: line.into(), environment, keeper: None }
    }

    /// Has this program, with this word in front, start the command: it leads the command's
    /// process group and ends it when its standard input closes, so that the command outlives no
    /// process that is killed. Without one the command is started as it is.
    pub fn kept_by(&mut self, keeper: Option<(PathBuf, OsString)>) {
        self.keeper = keeper;
    }

    /// Runs the command and gives what it printed: at most 4 KiB, within `time`.
    fn run(&self, time: Duration) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let words = split_words(&self.line)
            .ok_or(LockedReason::PasswordCommand("has an unclosed quotation mark"))?;
        let [program, arguments @ ..] = words.as_slice() else {
            return Err(LockedReason::PasswordCommand("is empty").into());
        };
        let (keeper, environment) = (self.keeper.as_ref(), &self.environment);
        super::command::output(keeper, program, arguments, environment, time, MAX_PASSWORD_BYTES)
            .map_err(|problem| LockedReason::PasswordCommand(problem).into())
    }
}

impl fmt::Debug for PasswordCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordCommand(...)")
    }
}

/// The secret P that goes into PBKDF2; wiped when dropped, never printed.
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    /// The bytes for PBKDF2.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The secret as text, for the redactor.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// The secret of a text, normalised to NFC.
    pub(super) fn from_text(text: &str) -> Self {
        Self(normalised(text))
    }

    /// The secret of a password as a file or command gives it: UTF-8, with one line end after
    /// it, which does not count. `None` when it is empty or not UTF-8.
    fn from_password(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?;
        let text = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text);
        (!text.is_empty()).then(|| Self::from_text(text))
    }
}

/// The secret for an existing store with this header.
pub(super) fn secret(
    header: &Header,
    options: &UnlockOptions,
    keyring: &dyn Keyring,
) -> Result<Secret, StoreError> {
    match header.source {
        UnlockSource::Password => options.password.read(),
        UnlockSource::Keyring => Ok(keyring.get(&account(&header.generation))?),
        UnlockSource::Device => device_key(&options.device_key)?
            .ok_or_else(|| LockedReason::DeviceKeyMissing(options.device_key.clone()).into()),
    }
}

/// The name of a generation's entry in the keyring: its id in hexadecimal digits.
pub(super) fn account(generation: &[u8; GENERATION_LENGTH]) -> String {
    generation.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The secret for a generation that is about to be written. Makes the device key, or the entry in
/// the keyring, when there is none; `wait` is how long to wait for another process that does the
/// same.
pub(super) fn new_secret(
    unlock: &NewUnlock,
    generation: &[u8; GENERATION_LENGTH],
    keyring: &dyn Keyring,
    wait: Duration,
) -> Result<Secret, StoreError> {
    match unlock {
        NewUnlock::Keyring => {
            let account = account(generation);
            match keyring.get(&account) {
                Err(KeyringProblem::Missing) => {}
                found => return Ok(found?),
            }
            keyring.put(&account, &Secret::from_text(&random_text()?))?;
            // What is read back is what a server will get.
            Ok(keyring.get(&account)?)
        }
        NewUnlock::Password(password) => Ok(Secret::from_text(password.0.expose_secret())),
        NewUnlock::Device(path) => make_device_key(path, wait),
    }
}

/// Where the device key lies when no setting says otherwise.
///
/// `home` is the user's home folder. `data_home` is the value of `XDG_DATA_HOME` (`LOCALAPPDATA`
/// on Windows), and counts only when it is absolute; macOS does not look at it.
pub fn default_device_key_path(home: &Path, data_home: Option<&Path>) -> PathBuf {
    let data_home = data_home.filter(|path| path.is_absolute());
    let base = if cfg!(target_os = "macos") {
        home.join("Library").join("Application Support")
    } else {
        let default: &[&str] =
            if cfg!(windows) { &["AppData", "Local"] } else { &[".local", "share"] };
        data_home.map_or_else(|| home.join(default.iter().collect::<PathBuf>()), Path::to_path_buf)
    };
    base.join("layer-mcp").join("device.key")
}

/// Removes the device key, if there is one. Best effort on media that keep old blocks.
pub(super) fn forget_device_key(path: &Path) -> Result<bool, StoreError> {
    let (folder, name) = device_key_place(path)?;
    let Some(folder) = Folder::open_shared(folder)? else {
        return Ok(false);
    };
    let removed = folder.erase(name)?;
    folder.sync()?;
    Ok(removed)
}

fn device_key(path: &Path) -> Result<Option<Secret>, StoreError> {
    // Who can write to its folder could put a key there that they know.
    let (folder, name) = device_key_place(path)?;
    let Some(folder) = Folder::open_shared(folder)? else {
        return Ok(None);
    };
    match folder.read(name, MAX_DEVICE_KEY_BYTES)? {
        None => Ok(None),
        Some(bytes) => parse_device_key(&bytes)
            .map(Some)
            .ok_or_else(|| LockedReason::DeviceKeyDamaged(path.to_path_buf()).into()),
    }
}

/// A device key is exactly 43 characters of base64url, and one line end at most.
fn parse_device_key(bytes: &[u8]) -> Option<Secret> {
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let mut decoded = Zeroizing::new([0_u8; 32]);
    let length = URL_SAFE_NO_PAD.decode_slice(text, decoded.as_mut()).ok()?;
    let text = str::from_utf8(text).ok()?;
    (text.len() == 43 && length == 32).then(|| Secret::from_text(text))
}

fn make_device_key(path: &Path, wait: Duration) -> Result<Secret, StoreError> {
    let (folder, name) = device_key_place(path)?;
    let folder = Folder::make_shared(folder)?;
    // Under the lock, so that of two processes the second finds the first one's key.
    let _lock = lock::acquire(&folder, LockMode::Exclusive, wait)?;
    if let Some(secret) = device_key(path)? {
        return Ok(secret);
    }
    let mut text = random_text()?;
    text.push('\n');
    let unfinished = format!(".{name}.new");
    folder.remove_file(&unfinished)?;
    folder.create(&unfinished, text.as_bytes())?;
    folder.rename(&unfinished, name)?;
    folder.sync()?;
    device_key(path)?.ok_or_else(|| LockedReason::DeviceKeyMissing(path.to_path_buf()).into())
}

/// 32 random bytes as 43 characters of base64url, in a buffer with room for a line end.
fn random_text() -> Result<Zeroizing<String>, StoreError> {
    let key = cipher::random_key().map_err(|_| StoreError::NoRandomness)?;
    let mut text = Zeroizing::new(String::with_capacity(64));
    URL_SAFE_NO_PAD.encode_string(key.as_ref(), &mut text);
    Ok(text)
}

fn device_key_place(path: &Path) -> Result<(&Path, &str), StoreError> {
    let name = path.file_name().and_then(|name| name.to_str());
    match (path.parent(), name) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => Ok((Path::new("."), name)),
        (Some(folder), Some(name)) => Ok((folder, name)),
        _ => Err(LockedReason::DeviceKeyMissing(path.to_path_buf()).into()),
    }
}

fn normalised(text: &str) -> Zeroizing<String> {
    // NFC is at most three times as long as its input in UTF-8 (Unicode Annex 15), so that the
    // buffer never grows and leaves a copy behind.
    let mut normalised = Zeroizing::new(String::with_capacity(text.len().saturating_mul(3)));
    normalised.extend(text.nfc());
    normalised
}

fn split_words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for character in line.chars() {
        match quote {
            Some(open) if character == open => quote = None,
            Some(_) => word.get_or_insert_default().push(character),
            None if character == '"' || character == '\'' => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            None if character.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

const MAX_PASSWORD_BYTES: usize = 4096;
const MAX_DEVICE_KEY_BYTES: usize = 64;
const COMMAND_TIME: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use super::*;

    fn parse(text: &str) -> Result<NewPassword, UnlockError> {
        NewPassword::parse(&SecretString::from(text))
    }

    #[test]
    fn a_new_password_follows_the_rules() {
        parse("correct horse").unwrap();
        assert_eq!(parse("elevenchars").unwrap_err(), UnlockError::TooShort { found: 11 });
        assert_eq!(parse(" correct horse").unwrap_err(), UnlockError::SurroundingSpace);
        assert_eq!(parse("correct\thorse").unwrap_err(), UnlockError::ControlCharacter);
        assert_eq!(parse(&"a".repeat(1025)).unwrap_err(), UnlockError::TooLong);
        // Twelve characters typed, eleven after composition.
        assert_eq!(parse("elevenchare\u{301}").unwrap_err(), UnlockError::TooShort { found: 11 });
    }

    #[test]
    fn a_generated_password_is_long_and_never_the_same() {
        let (one, two) = (NewPassword::generate().unwrap(), NewPassword::generate().unwrap());
        assert_eq!(one.expose().len(), 26);
        assert_ne!(one.expose(), two.expose());
        parse(one.expose()).unwrap();
        assert!(!format!("{one:?}").contains(one.expose()));
    }

    #[test]
    fn composed_and_decomposed_spelling_are_one_password() {
        assert_eq!(Secret::from_text("e\u{301}").bytes(), Secret::from_text("\u{e9}").bytes());
    }

    #[test]
    fn one_line_end_after_a_password_does_not_count() {
        let bytes = |text: &str| Secret::from_password(text.as_bytes()).unwrap().bytes().to_vec();
        assert_eq!(bytes("secret\n"), b"secret");
        assert_eq!(bytes("secret\r\n"), b"secret");
        assert_eq!(bytes("secret\n\n"), b"secret\n");
        assert_eq!(bytes(" secret "), b" secret ");
        assert!(Secret::from_password(b"\n").is_none());
        assert!(Secret::from_password(b"\xff\xfe").is_none());
    }

    #[test]
    fn a_device_key_is_43_characters_and_nothing_else() {
        let good = "gIGCg4SFhoeIiYqLjI2Oj5CRkpOUlZaXmJmam5ydnp8";
        assert_eq!(
            parse_device_key(format!("{good}\n").as_bytes()).unwrap().bytes(),
            good.as_bytes()
        );
        assert!(parse_device_key(good.as_bytes()).is_some());
        let short = good.get(1..).unwrap();
        for bad in [
            String::new(),
            short.to_owned(),
            format!("{good}A"),
            format!("{good}="),
            format!("{good}\n\n"),
            format!(" {short}"),
            format!("+{short}"),
            good.replace("np8", "np9"),
        ] {
            assert!(parse_device_key(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn two_passwords_are_refused_by_both_names() {
        let settings = PasswordSettings {
            value: Some(SecretString::from("correct horse")),
            file: Some(PathBuf::from("/nowhere")),
            command: None,
        };
        let error = settings.read().err().unwrap();
        assert_eq!(error.code(), "store_locked");
        let text = error.to_string();
        assert!(text.contains("`LAYER_MCP_PASSWORD`"), "{text}");
        assert!(text.contains("`LAYER_MCP_PASSWORD_FILE`"), "{text}");
        assert_eq!(PasswordSettings::default().read().err().unwrap().code(), "store_locked");
    }

    #[test]
    fn a_command_line_is_split_without_a_shell() {
        let split = |line: &str| split_words(line);
        let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
        assert_eq!(split("pass show layer"), words(&["pass", "show", "layer"]));
        assert_eq!(
            split(r#" op  read "op://a b/c" '' "#),
            words(&["op", "read", "op://a b/c", ""])
        );
        assert_eq!(split("a$(b);c|d\\e"), words(&["a$(b);c|d\\e"]));
        assert_eq!(split("a \"b"), None);
        assert_eq!(split("  "), Some(vec![]));
    }

    #[test]
    fn the_command_gets_no_variable_of_ours() {
        let pairs = [("LAYER_API_TOKEN", "x"), ("layer_mcp_home", "y"), ("PATH", "/bin")]
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let command = PasswordCommand::new("true", pairs);
        assert_eq!(command.environment, [(OsString::from("PATH"), OsString::from("/bin"))]);
        assert_eq!(format!("{command:?}"), "PasswordCommand(...)");
    }

    #[cfg(unix)]
    #[test]
    fn a_command_is_run_and_bounded() {
        let path = || std::iter::once((OsString::from("PATH"), OsString::from("/usr/bin:/bin")));
        let run = |line: &str, time| PasswordCommand::new(line, path()).run(time);
        let long = Duration::from_secs(10);
        let printed = run("printf 'correct horse\\n'", long).unwrap();
        assert_eq!(Secret::from_password(&printed).unwrap().bytes(), b"correct horse");
        assert_eq!(run("cat", long).unwrap().as_slice(), b"");
        for (line, time) in [
            ("false", long),
            ("/no/such/program", long),
            ("", long),
            ("head -c 5000 /dev/zero", long),
            ("sleep 30", Duration::from_millis(50)),
        ] {
            assert_eq!(run(line, time).unwrap_err().code(), "store_locked", "{line}");
        }
    }

    /// A password manager may start an agent that stays and holds the output open.
    #[cfg(unix)]
    #[test]
    fn a_command_is_not_waited_for_longer_than_it_runs() {
        let path = || std::iter::once((OsString::from("PATH"), OsString::from("/usr/bin:/bin")));
        let time = Duration::from_secs(60);
        let began = std::time::Instant::now();
        for line in [
            "sh -c 'sleep 50 & printf secret'",
            "sh -c 'printf secret; setsid sleep 50 &'",
            // What is printed a moment later by a child still counts.
            "sh -c '(sleep 0.1; printf ret) & printf sec'",
        ] {
            let printed = PasswordCommand::new(line, path()).run(time).unwrap();
            assert_eq!(printed.as_slice(), b"secret", "{line}");
        }
        assert!(began.elapsed() < time / 2, "{:?}", began.elapsed());
    }

    #[test]
    fn the_device_key_lies_with_the_users_data() {
        let home = Path::new("/home/zoe");
        let default = default_device_key_path(home, None);
        assert!(default.ends_with("layer-mcp/device.key") && default.starts_with(home));
        assert_eq!(default_device_key_path(home, Some(Path::new("relative"))), default);
        #[cfg(target_os = "linux")]
        {
            assert_eq!(default, home.join(".local/share/layer-mcp/device.key"));
            let data = default_device_key_path(home, Some(Path::new("/data")));
            assert_eq!(data, Path::new("/data/layer-mcp/device.key"));
        }
    }

    #[test]
    fn a_source_has_one_spelling() {
        for source in [UnlockSource::Device, UnlockSource::Password, UnlockSource::Keyring] {
            assert_eq!(source.to_string().parse::<UnlockSource>().unwrap(), source);
        }
        assert_eq!("Device".parse::<UnlockSource>().unwrap_err(), UnlockError::Unknown);
    }
}
