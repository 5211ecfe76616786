//! `setup` on a terminal: what a person sees and types, and what is left when they stop halfway.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::support::{TestEnv, files_below, for_each};

const TOKEN: &str = "pat_Kx7Qm2Rv9Tz4Wb8Yd3Nf6Hj1Lc5Gs0PaEuXo";
const PASSWORD: &str = "correct horse battery";

const REPLACE: &str = "Replace it?";
const PASTE: &str = "Paste it here";
const WORKSPACE: &str = "Which workspace pays?";
const NEW_PASSWORD: &str = "A new password";
const AGAIN: &str = "Once more";

/// The program on a pseudo-terminal, and the person in front of it.
pub(crate) struct Person {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    seen: usize,
}

impl Person {
    fn runs(env: &TestEnv, arguments: &[&str]) -> Self {
        Self::runs_in(env, arguments, 0)
    }

    /// The same in a window of so many columns; 0 is one that does not tell.
    pub(crate) fn runs_in(env: &TestEnv, arguments: &[&str], columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        let rows = if columns == 0 { 0 } else { 50 };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = || -> OwnedFd {
            let flags = OFlags::RDWR | OFlags::NOCTTY;
            rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap()
        };
        let mut command = Command::new("setsid");
        // It becomes the program: one process, with the terminal for its own.
        command.args(["--ctty", env!("CARGO_BIN_EXE_layer-mcp")]);
        let mut command = env.dressed(command, arguments);
        let child = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        drop(command);
        let keyboard = File::from(master);
        let mut output = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end of a terminal is an error, not an end of file.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, keyboard, screen, reader: Some(reader), seen: 0 }
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Waits until this is asked, after everything that was waited for before.
    pub(crate) fn waits_for(&mut self, text: &str) -> &mut Self {
        let began = Instant::now();
        loop {
            let screen = self.screen();
            if let Some(at) = screen[self.seen..].find(text) {
                self.seen += at + text.len();
                return self;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "no `{text}` in {screen:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn types(&mut self, keys: &str) -> &mut Self {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self
    }

    /// Types into a question that is not shown while it is typed, once the terminal is ready.
    fn types_hidden(&mut self, keys: &str) -> &mut Self {
        let began = Instant::now();
        while self.echoes() {
            assert!(began.elapsed() < Duration::from_secs(30), "the terminal still echoes");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.types(keys)
    }

    fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.keyboard).unwrap().local_modes;
        modes.contains(LocalModes::ECHO) && modes.contains(LocalModes::ICANON)
    }

    /// The exit code and all that was shown.
    pub(crate) fn sees_the_end(mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "no end: {:?}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        };
        // After a death by a signal, shells set the terminal themselves.
        assert!(status.code().is_none() || self.echoes(), "the terminal is left as it was");
        self.reader.take().unwrap().join().unwrap();
        (status.code(), self.screen())
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn world() -> TestEnv {
    let mut env = TestEnv::with_token(TOKEN);
    env.unset("LAYER_API_TOKEN").unset("LAYER_WORKSPACE_ID").set("TERM", "xterm");
    env
}

/// Every file of the store with its bytes; the lock holds nothing.
fn stored(env: &TestEnv) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files_below(&env.home().join("secure")).into_iter();
    let files = files.filter(|file| !file.ends_with(".lock"));
    files.map(|file| (file.clone(), fs::read(&file).unwrap())).collect()
}

#[test]
fn a_person_is_led_through_the_setup() {
    let env = world();
    let mut person = Person::runs(&env, &["setup", "--unlock", "password"]);
    person.waits_for("app.layer.ai").waits_for(PASTE);
    // Not a token, a token in quotes, and then as terminals paste: marked, with the line end of
    // a clipboard and with more lines behind it, which answer nothing.
    person.types_hidden("hello\r").waits_for("no Layer.ai token").waits_for(PASTE);
    person.types_hidden(&format!("\"{TOKEN}\"\r")).waits_for("quot").waits_for(PASTE);
    person.types_hidden(&format!("\x1b[200~{TOKEN}\r\n2\r\n2\r\n\x1b[201~"));
    person.waits_for(WORKSPACE).types("seven\r").waits_for("Answer with a number").types("1\r");
    person.waits_for(NEW_PASSWORD).types_hidden("short\r").waits_for("characters");
    person.waits_for(NEW_PASSWORD).types_hidden(&format!("{PASSWORD}\r"));
    person.waits_for(AGAIN).types_hidden(&format!("{PASSWORD}\r"));
    let (code, screen) = person.sees_the_end();
    assert_eq!(code, Some(0), "{screen}");
    for said in ["Stored the token pat_Kx7Q…", "0700", "0600", "Unlocked by your password"] {
        assert!(screen.contains(said), "{said}: {screen}");
    }
    assert!(!screen.contains(&TOKEN[8..]) && !screen.contains(PASSWORD), "{screen}");
    assert_eq!(stored(&env).len(), 3);

    // Again: the stored token stays until the answer is yes.
    let before = stored(&env);
    let mut person = Person::runs(&env, &["setup"]);
    person.waits_for(REPLACE).types("\r");
    let (code, screen) = person.sees_the_end();
    assert_eq!((code, stored(&env) == before), (Some(3), true), "{screen}");
    let mut person = Person::runs(&env, &["setup"]);
    person.waits_for(REPLACE).types("y\r").waits_for(PASTE);
    person.types_hidden(&format!("{TOKEN}\r")).waits_for(WORKSPACE).types("\r");
    let (code, screen) = person.sees_the_end();
    assert_eq!((code, stored(&env) == before), (Some(0), false), "{screen}");
}

#[test]
fn whoever_stops_at_a_question_changes_nothing() {
    let questions = [REPLACE, PASTE, WORKSPACE, NEW_PASSWORD, AGAIN];
    let ways = ["control-c", "control-d", "-TERM", "-HUP"];
    let cases: Vec<_> =
        questions.into_iter().flat_map(|question| ways.map(|way| (question, way))).collect();
    let env = world();
    let workspace = env.sandbox().workspace_id().to_owned();
    let setup = ["setup", "--yes", "--offline", "--workspace", &workspace];
    let first = env.run_with_input(&setup, TOKEN);
    assert_eq!(first.code, Some(0), "{first:#?}");
    let before = stored(&env);
    assert_eq!(before.len(), 3);
    for_each(&cases, |(stop, way)| {
        let mut person = Person::runs(&env, &["setup", "--unlock", "password"]);
        for (question, answer, hidden) in [
            (REPLACE, "y\r", false),
            (PASTE, &format!("{TOKEN}\r"), true),
            (WORKSPACE, "1\r", false),
            (NEW_PASSWORD, &format!("{PASSWORD}\r"), true),
            (AGAIN, "", true),
        ] {
            person.waits_for(question);
            if question == *stop {
                // The signal or key arrives while the answer is awaited.
                if hidden {
                    person.types_hidden("");
                }
                match *way {
                    "control-c" => {
                        person.types("\x03");
                    }
                    "control-d" => {
                        person.types("\x04");
                    }
                    signal => {
                        let pid = person.child.id().to_string();
                        let sent = Command::new("kill").args([signal, &pid]).status();
                        assert!(sent.unwrap().success());
                    }
                }
                break;
            }
            if hidden {
                person.types_hidden(answer);
            } else {
                person.types(answer);
            }
        }
        let (code, screen) = person.sees_the_end();
        assert_ne!(code, Some(0), "{screen}");
        assert!(!screen.contains(&TOKEN[8..]) && !screen.contains(PASSWORD), "{screen}");
    });
    assert!(stored(&env) == before, "{:?}", stored(&env).keys());
    let status = env.run(&["credentials", "status"]);
    assert_eq!(status.code, Some(0), "{status:#?}");
}

#[test]
fn a_dear_call_asks_the_person_at_the_terminal() {
    let mut env = TestEnv::new();
    env.set("TERM", "xterm").set("LAYER_CONFIRM_ABOVE_CU", "1.5");
    let call = ["call", "create_asset", r#"{"prompt": "a cup", "width": 64, "height": 64}"#];
    let mut person = Person::runs(&env, &call);
    // What was typed before the price was seen says nothing.
    person.types("y\r").waits_for("Spend 2 CU at Layer.ai?").waits_for("[y/N]").types("n\r");
    let (code, screen) = person.sees_the_end();
    assert_eq!((code, env.starts()), (Some(1), 0), "{screen}");
    assert!(screen.contains("said no to 2 CU"), "{screen}");

    let mut person = Person::runs(&env, &call);
    person.waits_for("[y/N]").types("y\r");
    let (code, screen) = person.sees_the_end();
    assert_eq!((code, env.starts()), (Some(0), 1), "{screen}");
}

#[test]
fn connect_asks_the_person_before_it_writes() {
    let mut env = TestEnv::new();
    env.set("TERM", "xterm");
    let file = env.path("user/.cursor/mcp.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "{}\n").unwrap();
    let mut person = Person::runs(&env, &["connect", "cursor"]);
    person.waits_for("+").waits_for("layer-mcp").waits_for("Write that?").types("n\r");
    let (code, screen) = person.sees_the_end();
    assert_eq!(code, Some(1), "{screen}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "{}\n");

    // Somebody else was faster.
    let mut person = Person::runs(&env, &["connect", "cursor"]);
    person.waits_for("Write that?");
    fs::write(&file, "{ }\n").unwrap();
    person.types("y\r").waits_for("changed by another program");
    let (code, screen) = person.sees_the_end();
    assert_eq!(code, Some(1), "{screen}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "{ }\n");
    assert_eq!(files_below(file.parent().unwrap()), std::slice::from_ref(&file));

    let mut person = Person::runs(&env, &["connect", "cursor"]);
    person.waits_for("Write that?").types("\r").waits_for("Connected Cursor").waits_for("Next: ");
    let (code, screen) = person.sees_the_end();
    assert_eq!(code, Some(0), "{screen}");
    let mut person = Person::runs(&env, &["connect", "cursor", "--remove"]);
    person.waits_for("Take it out?").types("\r");
    assert_eq!(person.sees_the_end().0, Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), "{ }\n");

    // For an entry of another program the usual answer is no.
    fs::write(&file, r#"{"mcpServers": {"layer": {"url": "https://example.com"}}}"#).unwrap();
    let mut person = Person::runs(&env, &["connect", "cursor"]);
    person.waits_for("a server on the network").waits_for("[y/N]").types("\r");
    assert_eq!(person.sees_the_end().0, Some(1));
    let mut person = Person::runs(&env, &["connect", "cursor", "--yes"]);
    person.waits_for("Replaced");
    assert_eq!(person.sees_the_end().0, Some(0));
}
