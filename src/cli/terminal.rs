//! The terminal: the only writer to standard output and standard error outside the protocol, and
//! the only one who asks.
//!
//! Data goes to standard output, everything else (questions, hints, notes) to standard error.
//! Commands that may ask take a [`Prompt`]; where nobody can answer they get [`NoPrompt`].

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Read, Write};

use anstream::AutoStream;
use secrecy::SecretString;
use serde_json::Value;
use zeroize::Zeroizing;

use super::table::{wrap, wrap_words};
use super::theme::{ColorWish, Line, Tone, colours, is_dumb};
use crate::redact::{Redactor, clean_line, cut_foreign_keys};

/// Asks a person. The answers of tests come from a [`Terminal`] on buffers.
pub trait Prompt {
    /// Asks for a secret, which is not shown while it is typed or pasted. White space around the
    /// answer is cut, and what was pasted after its first line is thrown away, so that it cannot
    /// answer the next question.
    ///
    /// # Errors
    ///
    /// [`PromptError`] when there is no answer.
    fn secret(&mut self, question: &str) -> Result<SecretString, PromptError>;

    /// Asks for one line, without the white space around it. It may be empty.
    ///
    /// # Errors
    ///
    /// [`PromptError`] when there is no answer.
    fn line(&mut self, question: &str) -> Result<String, PromptError>;

    /// Asks for yes or no. An empty answer is `default`; any other is asked for again.
    ///
    /// # Errors
    ///
    /// [`PromptError`] when there is no answer.
    fn confirm(&mut self, question: &str, default: bool) -> Result<bool, PromptError>;

    /// Shows a numbered list and asks for a number; gives the index. An empty answer is
    /// `default`, where there is one.
    ///
    /// # Errors
    ///
    /// [`PromptError`] when there is no answer or nothing to choose from.
    fn choose(
        &mut self,
        question: &str,
        items: &[String],
        default: Option<usize>,
    ) -> Result<usize, PromptError>;
}

/// For places in which nobody can answer, such as a server or a script.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPrompt;

impl Prompt for NoPrompt {
    fn secret(&mut self, _question: &str) -> Result<SecretString, PromptError> {
        Err(PromptError::NoTerminal)
    }

    fn line(&mut self, _question: &str) -> Result<String, PromptError> {
        Err(PromptError::NoTerminal)
    }

    fn confirm(&mut self, _question: &str, _default: bool) -> Result<bool, PromptError> {
        Err(PromptError::NoTerminal)
    }

    fn choose(
        &mut self,
        _question: &str,
        _items: &[String],
        _default: Option<usize>,
    ) -> Result<usize, PromptError> {
        Err(PromptError::NoTerminal)
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// There is no terminal to ask on.
    #[error("there is no terminal to ask on")]
    NoTerminal,
    /// The input ended before an answer.
    #[error("the input ended before there was an answer")]
    EndOfInput,
    /// The person pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// No acceptable answer after several attempts.
    #[error("none of {ATTEMPTS} answers could be understood")]
    NotUnderstood,
    /// The list to choose from is empty.
    #[error("there is nothing to choose from")]
    NothingToChoose,
    /// The input is longer than any answer.
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    /// The input is not UTF-8.
    #[error("the answer is not text in UTF-8")]
    NotText,
    /// The terminal failed.
    #[error("the terminal failed")]
    Io(#[source] io::Error),
}

impl From<io::Error> for PromptError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::EndOfInput,
            io::ErrorKind::InvalidData => Self::NotText,
            _ => Self::Io(error),
        }
    }
}

/// Handles to write to and to read answers from.
pub struct Terminal {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    input: Input,
    redactor: Redactor,
    looks: Looks,
}

/// What the streams of this process show.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    /// Standard output has colours.
    out: bool,
    /// Standard error has colours.
    err: bool,
    /// Standard error shows nothing that moves.
    still: bool,
}

/// Where answers come from.
enum Input {
    /// The process's own standard input; secrets from its terminal.
    Process,
    /// A buffer, in tests.
    Buffer(Box<dyn BufRead + Send>),
}

impl Terminal {
    /// The process's own standard output, error and input. What it writes passes the redactor.
    pub fn system(redactor: &Redactor) -> Self {
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            input: Input::Process,
            redactor: redactor.clone(),
            looks: Looks::default(),
        }
    }

    /// With colours as the command line and the environment say. Without this there are none.
    pub fn coloured(&mut self, wish: ColorWish, env: &dyn Fn(&str) -> Option<std::ffi::OsString>) {
        let (out, err) = (io::stdout(), io::stderr());
        self.looks = Looks {
            out: colours(wish, env, out.is_terminal()),
            err: colours(wish, env, err.is_terminal()),
            still: is_dumb(env),
        };
        // It knows how old consoles of Windows are coloured.
        if self.looks.out {
            self.out = Box::new(AutoStream::always(out));
        }
        if self.looks.err {
            self.err = Box::new(AutoStream::always(err));
        }
    }

    /// A terminal on buffers: `input` holds the answers, one a line.
    pub fn on_buffers(
        out: impl Write + Send + 'static,
        err: impl Write + Send + 'static,
        input: impl BufRead + Send + 'static,
    ) -> Self {
        Self {
            out: Box::new(out),
            err: Box::new(err),
            input: Input::Buffer(Box::new(input)),
            redactor: Redactor::new(),
            looks: Looks::default(),
        }
    }

    /// Throws away what was typed before it was asked for.
    pub fn forget_typed_ahead(&self) {
        #[cfg(unix)]
        {
            use rustix::termios::{QueueSelector, tcflush};
            // Where that can't be done there is no terminal.
            let _ = tcflush(io::stdin(), QueueSelector::IFlush);
        }
    }

    /// Whether a person can be asked: standard input and standard error are a terminal.
    pub fn can_ask(&self) -> bool {
        match self.input {
            Input::Process => io::stdin().is_terminal() && io::stderr().is_terminal(),
            Input::Buffer(_) => true,
        }
    }

    /// How many columns standard output shows, when it is a terminal that tells.
    pub fn columns(&self) -> Option<usize> {
        match self.input {
            Input::Process => width(terminal_size::terminal_size_of(io::stdout())),
            Input::Buffer(_) => None,
        }
    }

    /// How many columns standard error shows, when it is a terminal that tells.
    pub fn columns_of_notes(&self) -> Option<usize> {
        match self.input {
            Input::Process => width(terminal_size::terminal_size_of(io::stderr())),
            Input::Buffer(_) => None,
        }
    }

    /// Whether standard error shows what moves, such as a progress bar.
    pub fn is_lively(&self) -> bool {
        matches!(self.input, Input::Process) && io::stderr().is_terminal() && !self.looks.still
    }

    /// Writes a JSON document to standard output: one line for programs, several for people.
    ///
    /// # Errors
    ///
    /// As [`Terminal::print`].
    pub fn print_json(&mut self, document: &Value) -> io::Result<()> {
        if matches!(self.input, Input::Process) && io::stdout().is_terminal() {
            return self.print(format_args!("{document:#}"));
        }
        self.print(document)
    }

    /// Writes lines of data to standard output, with their colours where those are welcome.
    ///
    /// # Errors
    ///
    /// As [`Terminal::print`].
    pub fn print_lines(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut all = String::new();
        for line in lines {
            let plain = line.plain();
            let safe = self.redactor.redact(&plain);
            // Codes between letters must not hide a secret: what has one has no colours.
            let coloured = self.looks.out && safe == plain;
            all.push_str(&if coloured { line.styled() } else { safe.into_owned() });
            all.push('\n');
        }
        self.out.write_all(all.as_bytes())?;
        self.out.flush()
    }

    /// Writes sentences to standard output, broken at spaces where the window ends.
    ///
    /// # Errors
    ///
    /// As [`Terminal::print`].
    pub fn print_wrapped(&mut self, texts: &[String]) -> io::Result<()> {
        let room = self.columns();
        let fitting = |text: &String| match room {
            Some(room) => wrap(text, room),
            None => vec![text.clone()],
        };
        let lines: Vec<Line> = texts.iter().flat_map(fitting).map(Line::from).collect();
        self.print_lines(&lines)
    }

    /// Writes a line for the person to standard error, as [`Terminal::note`] does: a word for what
    /// it is, in its tone, and the text, broken at spaces where the window ends.
    ///
    /// # Errors
    ///
    /// What the handle answers.
    pub fn tell(&mut self, tone: Tone, label: &str, text: impl Display) -> io::Result<()> {
        let text = text.to_string();
        let redacted = self.redactor.redact(&text);
        let safe = cut_foreign_keys(&redacted);
        let beside = label.len() + 1;
        let window = self.columns_of_notes();
        let pieces: Vec<String> = match window {
            None => safe.lines().map(str::to_owned).collect(),
            Some(window) => safe
                .lines()
                .flat_map(|line| wrap_words(line, window.saturating_sub(beside)))
                .collect(),
        };
        let label = Line::new().with(tone, label);
        let label = if self.looks.err { label.styled() } else { label.plain() };
        let later = window.map_or(0, |_| beside);
        let mut all = String::new();
        for (index, piece) in pieces.iter().enumerate() {
            match index {
                0 => all.push_str(&format!("{label} {piece}\n")),
                _ => all.push_str(&format!("{:later$}{piece}\n", "")),
            }
        }
        self.err.write_all(all.as_bytes())?;
        self.err.flush()
    }

    /// Writes a line of data to standard output.
    ///
    /// # Errors
    ///
    /// What the handle answers, for example that the reader of a pipe has gone.
    pub fn print(&mut self, line: impl Display) -> io::Result<()> {
        let line = line.to_string();
        let safe = self.redactor.redact(&line);
        writeln!(self.out, "{safe}")?;
        self.out.flush()
    }

    /// Writes a line to standard output as it is, because what looks like a secret in it is none:
    /// the sandbox's token, which opens nothing.
    ///
    /// # Errors
    ///
    /// As [`Terminal::print`].
    pub fn print_public(&mut self, line: impl Display) -> io::Result<()> {
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    /// Writes a line for the person to standard error. It may repeat what they typed, so keys of
    /// other services are cut too.
    ///
    /// # Errors
    ///
    /// What the handle answers.
    pub fn note(&mut self, line: impl Display) -> io::Result<()> {
        let line = line.to_string();
        let safe = self.redactor.redact(&line);
        let safe = cut_foreign_keys(&safe);
        writeln!(self.err, "{safe}")?;
        self.err.flush()
    }

    /// Writes a hint to standard error, after an empty line.
    ///
    /// # Errors
    ///
    /// What the handle answers.
    pub fn hint(&mut self, line: impl Display) -> io::Result<()> {
        writeln!(self.err)?;
        self.tell(Tone::Strong, "hint:", line)
    }

    /// Reads a secret that is piped into standard input: all of it, without the white space
    /// around it. Nothing is asked.
    ///
    /// # Errors
    ///
    /// [`PromptError::EndOfInput`] when there is nothing, [`PromptError::TooLong`] for more than
    /// 64 KiB.
    pub fn piped_secret(&mut self) -> Result<SecretString, PromptError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_ANSWER + 2));
        match &mut self.input {
            Input::Process => io::stdin().lock().take(BOUND).read_to_end(&mut bytes)?,
            Input::Buffer(buffer) => buffer.take(BOUND).read_to_end(&mut bytes)?,
        };
        answer(&bytes).map(SecretString::from)
    }

    fn ask(&mut self, question: &str) -> Result<(), PromptError> {
        if !self.can_ask() {
            return Err(PromptError::NoTerminal);
        }
        let question = self.redactor.redact(question);
        write!(self.err, "{question} ").and_then(|()| self.err.flush()).map_err(PromptError::Io)
    }

    fn read_line(&mut self) -> Result<String, PromptError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(256));
        match &mut self.input {
            Input::Process => io::stdin().lock().take(BOUND).read_until(b'\n', &mut bytes)?,
            Input::Buffer(buffer) => buffer.take(BOUND).read_until(b'\n', &mut bytes)?,
        };
        answer(&bytes).map(str::to_owned)
    }

    /// Repeats a question until its answer can be understood.
    fn until_understood<T>(
        &mut self,
        question: &str,
        advice: &str,
        understand: impl Fn(&str) -> Option<T>,
    ) -> Result<T, PromptError> {
        for _ in 0..ATTEMPTS {
            self.ask(question)?;
            if let Some(value) = understand(&self.read_line()?) {
                return Ok(value);
            }
            self.note(advice).map_err(PromptError::Io)?;
        }
        Err(PromptError::NotUnderstood)
    }
}

impl Prompt for Terminal {
    fn secret(&mut self, question: &str) -> Result<SecretString, PromptError> {
        self.ask(question)?;
        if matches!(self.input, Input::Buffer(_)) {
            return self.read_line().map(|line| SecretString::from(Zeroizing::new(line).as_str()));
        }
        let typed = hidden::read_line();
        // The line end that the person typed was not shown either.
        writeln!(self.err).map_err(PromptError::Io)?;
        let typed = typed?;
        if typed.len() > MAX_ANSWER {
            return Err(PromptError::TooLong);
        }
        Ok(SecretString::from(typed.trim()))
    }

    fn line(&mut self, question: &str) -> Result<String, PromptError> {
        self.ask(question)?;
        self.read_line()
    }

    fn confirm(&mut self, question: &str, default: bool) -> Result<bool, PromptError> {
        let choices = if default { "[Y/n]" } else { "[y/N]" };
        self.until_understood(&format!("{question} {choices}"), "Answer `y` or `n`.", |line| {
            match line.to_ascii_lowercase().as_str() {
                "" => Some(default),
                "y" | "yes" => Some(true),
                "n" | "no" => Some(false),
                _ => None,
            }
        })
    }

    fn choose(
        &mut self,
        question: &str,
        items: &[String],
        default: Option<usize>,
    ) -> Result<usize, PromptError> {
        if items.is_empty() {
            return Err(PromptError::NothingToChoose);
        }
        if !self.can_ask() {
            return Err(PromptError::NoTerminal);
        }
        for (index, item) in items.iter().enumerate() {
            let line = format!("{:>4}  {}", index + 1, clean_line(item, MAX_ITEM));
            self.note(line).map_err(PromptError::Io)?;
        }
        let default = default.filter(|&index| index < items.len());
        let range = match default {
            Some(index) => format!("[1-{}, default {}]", items.len(), index + 1),
            None => format!("[1-{}]", items.len()),
        };
        let advice = format!("Answer with a number from 1 to {}.", items.len());
        self.until_understood(&format!("{question} {range}"), &advice, |line| {
            if line.is_empty() {
                return default;
            }
            let index = line.parse::<usize>().ok()?.checked_sub(1)?;
            (index < items.len()).then_some(index)
        })
    }
}

fn width(size: Option<(terminal_size::Width, terminal_size::Height)>) -> Option<usize> {
    size.map(|(width, _)| usize::from(width.0)).filter(|columns| *columns > 0)
}

/// What was read, as one trimmed text. Nothing at all is the end of the input; an empty line is
/// an empty answer.
fn answer(bytes: &[u8]) -> Result<&str, PromptError> {
    if bytes.is_empty() {
        return Err(PromptError::EndOfInput);
    }
    if bytes.len() > MAX_ANSWER {
        return Err(PromptError::TooLong);
    }
    str::from_utf8(bytes).map(str::trim).map_err(|_| PromptError::NotText)
}

/// Longest answer in bytes.
const MAX_ANSWER: usize = 64 * 1024;
const BOUND: u64 = 64 * 1024 + 1;
/// Longest item of a list in characters.
const MAX_ITEM: usize = 120;
/// How often a question is repeated.
const ATTEMPTS: usize = 5;

/// Hidden input on Unix. `rpassword` reads and edits the line; the terminal is switched here,
/// because `rpassword` raises the signal for Ctrl-C before it has switched the terminal back.
#[cfg(unix)]
mod hidden {
    use std::fs::{File, OpenOptions};
    use std::io::{self, Read};

    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
    use zeroize::Zeroizing;

    use super::PromptError;

    const CTRL_C: u8 = 3;
    const CTRL_D: u8 = 4;

    pub(super) fn read_line() -> Result<Zeroizing<String>, PromptError> {
        let terminal = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .map_err(|_| PromptError::NoTerminal)?;
        let reader = terminal.try_clone().map_err(PromptError::Io)?;
        let _quiet = Quiet::switch(terminal)?;
        let config = rpassword::ConfigBuilder::new()
            .input_reader(Keys { terminal: reader, line_begun: false })
            .output_discard()
            .build();
        match rpassword::read_password_with_config(config) {
            Ok(line) => Ok(Zeroizing::new(line)),
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<Interrupt>()) => {
                Err(PromptError::Interrupted)
            }
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<End>()) => {
                Err(PromptError::EndOfInput)
            }
            Err(error) => Err(PromptError::from(error)),
        }
    }

    /// The terminal without echo, line editing and signals; as it was before when dropped, and
    /// without what was typed or pasted in the meantime and not read.
    struct Quiet {
        terminal: File,
        before: Termios,
    }

    impl Quiet {
        fn switch(terminal: File) -> Result<Self, PromptError> {
            let before =
                rustix::termios::tcgetattr(&terminal).map_err(|_| PromptError::NoTerminal)?;
            let mut quiet = before.clone();
            quiet.local_modes -= LocalModes::ECHO
                | LocalModes::ECHONL
                | LocalModes::ICANON
                | LocalModes::ISIG
                | LocalModes::IEXTEN;
            quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
            quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
            rustix::termios::tcsetattr(&terminal, OptionalActions::Drain, &quiet)
                .map_err(|error| PromptError::Io(error.into()))?;
            Ok(Self { terminal, before })
        }
    }

    impl Drop for Quiet {
        fn drop(&mut self) {
            let _ =
                rustix::termios::tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
        }
    }

    /// The bytes of the terminal, in which Ctrl-C, and Ctrl-D on an empty line, are errors.
    struct Keys<R> {
        terminal: R,
        line_begun: bool,
    }

    impl<R: Read> Read for Keys<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = loop {
                match self.terminal.read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
            match buffer.get(..count).unwrap_or_default() {
                [] if !self.line_begun => return Err(io::Error::other(End)),
                read if read.contains(&CTRL_C) => return Err(io::Error::other(Interrupt)),
                [CTRL_D] if !self.line_begun => return Err(io::Error::other(End)),
                _ => self.line_begun = true,
            }
            Ok(count)
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("interrupted")]
    struct Interrupt;

    #[derive(Debug, thiserror::Error)]
    #[error("end of input")]
    struct End;

    #[cfg(test)]
    mod tests {
        #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
        use super::*;

        fn type_in(keys: &'static [u8]) -> io::Result<String> {
            let config = rpassword::ConfigBuilder::new()
                .input_reader(Keys { terminal: keys, line_begun: false })
                .output_discard()
                .build();
            rpassword::read_password_with_config(config)
        }

        #[test]
        fn a_line_is_edited_and_ends_at_enter() {
            assert_eq!(type_in(b"abx\x7fc\r").unwrap(), "abc");
            assert_eq!(type_in(b"wrong\x15right\nnext").unwrap(), "right");
            assert_eq!(type_in(b"\x1b[200~pasted\x1b[201~\n").unwrap(), "pasted");
            assert_eq!(type_in("é\n".as_bytes()).unwrap(), "é");
        }

        #[test]
        fn control_c_and_control_d_are_errors_and_no_signals() {
            let error = type_in(b"ab\x03").unwrap_err();
            assert!(error.get_ref().unwrap().is::<Interrupt>());
            let error = type_in(b"\x04").unwrap_err();
            assert!(error.get_ref().unwrap().is::<End>());
            let error = type_in(b"").unwrap_err();
            assert!(error.get_ref().unwrap().is::<End>());
        }
    }
}

/// Hidden input elsewhere: `rpassword` does all of it.
#[cfg(not(unix))]
mod hidden {
    use zeroize::Zeroizing;

    use super::PromptError;

    pub(super) fn read_line() -> Result<Zeroizing<String>, PromptError> {
        match rpassword::read_password() {
            Ok(line) => Ok(Zeroizing::new(line)),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                Err(PromptError::Interrupted)
            }
            Err(error) => Err(PromptError::from(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
    use std::io::Cursor;
    use std::sync::{Arc, Mutex};

    use secrecy::ExposeSecret;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn terminal(input: &str) -> (Terminal, Sink, Sink) {
        let (out, err) = (Sink::default(), Sink::default());
        let input = Cursor::new(input.as_bytes().to_vec());
        (Terminal::on_buffers(out.clone(), err.clone(), input), out, err)
    }

    #[test]
    fn answers_are_trimmed_and_questions_go_to_standard_error() {
        let (mut terminal, out, err) = terminal("  pat_secret \r\n\n name\n");
        assert_eq!(terminal.secret("Token:").unwrap().expose_secret(), "pat_secret");
        assert_eq!(terminal.line("Empty:").unwrap(), "");
        assert_eq!(terminal.line("Name:").unwrap(), "name");
        assert!(matches!(terminal.line("More:"), Err(PromptError::EndOfInput)));
        assert_eq!(out.text(), "");
        assert_eq!(err.text(), "Token: Empty: Name: More: ");
    }

    #[test]
    fn yes_and_no_are_asked_for_until_understood() {
        let (mut terminal, _, err) = terminal("perhaps\nYES\n\n\nn\n");
        assert!(terminal.confirm("Go on?", false).unwrap());
        assert!(err.text().contains("Go on? [y/N] Answer `y` or `n`.\n"));
        assert!(terminal.confirm("Go on?", true).unwrap());
        assert!(!terminal.confirm("Go on?", false).unwrap());
        assert!(!terminal.confirm("Go on?", true).unwrap());
        let (mut terminal, _, _) = self::terminal("a\nb\nc\nd\ne\nf\n");
        assert!(matches!(terminal.confirm("?", true), Err(PromptError::NotUnderstood)));
    }

    #[test]
    fn one_of_a_list_is_chosen_by_number_and_the_list_is_harmless() {
        let items = ["one".to_owned(), "two\u{1b}[2J\nthree".to_owned()];
        let (mut terminal, _, err) = terminal("0\n3\n2\n\n");
        assert_eq!(terminal.choose("Which?", &items, None).unwrap(), 1);
        assert!(err.text().starts_with("   1  one\n   2  two three\nWhich? [1-2] "));
        assert_eq!(terminal.choose("Which?", &items, Some(0)).unwrap(), 0);
        assert!(matches!(terminal.choose("Which?", &[], None), Err(PromptError::NothingToChoose)));
    }

    #[test]
    fn a_piped_secret_is_read_whole_and_bounded() {
        let (mut terminal, ..) = terminal("pat_secret\n");
        assert_eq!(terminal.piped_secret().unwrap().expose_secret(), "pat_secret");
        let (mut terminal, ..) = self::terminal("");
        assert!(matches!(terminal.piped_secret(), Err(PromptError::EndOfInput)));
        let (mut terminal, ..) = self::terminal(&"a".repeat(70_000));
        assert!(matches!(terminal.piped_secret(), Err(PromptError::TooLong)));
    }

    #[test]
    fn data_and_notes_go_their_own_ways() {
        let (mut terminal, out, err) = terminal("");
        terminal.print("data").unwrap();
        terminal.note("note").unwrap();
        terminal.hint("run `layer-mcp setup`").unwrap();
        assert_eq!(out.text(), "data\n");
        assert_eq!(err.text(), "note\n\nhint: run `layer-mcp setup`\n");
    }

    #[test]
    fn where_nobody_answers_every_question_says_so() {
        assert!(matches!(NoPrompt.secret("?"), Err(PromptError::NoTerminal)));
        assert!(matches!(NoPrompt.line("?"), Err(PromptError::NoTerminal)));
        assert!(matches!(NoPrompt.confirm("?", true), Err(PromptError::NoTerminal)));
        let choice = NoPrompt.choose("?", &["a".to_owned()], Some(0));
        assert!(matches!(choice, Err(PromptError::NoTerminal)));
    }
}
