//! Prompts: what a user picks from a menu, as a plan that a model can carry out with the tools.
//!
//! A prompt costs nothing. Each plan names the price first and makes one piece before the others,
//! so that a wrong look is found when it has cost little.

use rmcp::model::{ErrorData, GetPromptResult, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::{Map, Value};

use super::completion::Completes;
use crate::redact::clean_line;

/// A prompt's argument.
pub(super) struct Argument {
    pub(super) name: &'static str,
    title: &'static str,
    description: &'static str,
    required: bool,
    pub(super) completes: Completes,
}

/// A prompt.
pub(super) struct PromptSpec {
    pub(super) name: &'static str,
    title: &'static str,
    description: &'static str,
    pub(super) arguments: &'static [Argument],
    plan: fn(&Given) -> String,
}

/// Longest text of an argument, in characters.
const LONGEST: usize = 2_000;

const fn argument(
    name: &'static str,
    title: &'static str,
    description: &'static str,
    completes: Completes,
) -> Argument {
    Argument { name, title, description, required: false, completes }
}

const fn required(argument: Argument) -> Argument {
    Argument { required: true, ..argument }
}

const LOOK: Argument = argument(
    "style",
    "Look",
    "Words for the look, or the style_id of a trained style",
    Completes::Style,
);
const MODEL: Argument =
    argument("model", "Model", "Only if you want a certain one", Completes::Model);
const SAVE_TO: Argument =
    argument("save_to", "Folder", "Folder of the project for the files", Completes::Folder);

/// All prompts, by name.
pub(super) const PROMPTS: [PromptSpec; 4] = [
    PromptSpec {
        name: "character_turnaround",
        title: "Character turnaround",
        description: "The same character from several sides, for modelling or sprites",
        arguments: &[
            required(argument("character", "Character", "Who it is", Completes::Nothing)),
            argument(
                "reference",
                "Reference",
                "A picture of the character in the project",
                Completes::File,
            ),
            argument(
                "views",
                "Views",
                "Which sides, such as: front, side, back",
                Completes::Words(&[
                    "front, side, back",
                    "front, three-quarter, side, back",
                    "front, left, back, right",
                ]),
            ),
            LOOK,
            MODEL,
            SAVE_TO,
        ],
        plan: character_turnaround,
    },
    PromptSpec {
        name: "icon_set",
        title: "Icon set",
        description: "A set of icons that belong together, with transparent background",
        arguments: &[
            required(argument(
                "subject",
                "Subject",
                "What the icons show, such as: potions, or sword, shield, bow",
                Completes::Nothing,
            )),
            argument(
                "count",
                "How many",
                "How many icons",
                Completes::Words(&["4", "6", "8", "12", "16"]),
            ),
            argument("size", "Size", "Pixels of a side", Completes::Words(&["256", "512", "1024"])),
            LOOK,
            MODEL,
            SAVE_TO,
        ],
        plan: icon_set,
    },
    PromptSpec {
        name: "sound_pack",
        title: "Sound pack",
        description: "Sound effects that belong together",
        arguments: &[
            required(argument(
                "theme",
                "Theme",
                "What it is for, such as: a wooden door, a sci-fi menu",
                Completes::Nothing,
            )),
            argument(
                "sounds",
                "Sounds",
                "Which sounds, such as: open, close, locked",
                Completes::Words(&["open, close, locked", "hover, click, confirm, error"]),
            ),
            argument(
                "seconds",
                "Length",
                "Seconds of one sound",
                Completes::Words(&["1", "2", "5", "10"]),
            ),
            MODEL,
            SAVE_TO,
        ],
        plan: sound_pack,
    },
    PromptSpec {
        name: "tile_set",
        title: "Tile set",
        description: "Seamless tiles of one world, such as grass, path and water",
        arguments: &[
            required(argument(
                "theme",
                "Theme",
                "The world, such as: a mossy dungeon",
                Completes::Nothing,
            )),
            argument(
                "tiles",
                "Tiles",
                "Which tiles, such as: grass, path, water",
                Completes::Words(&["grass, path, water, sand", "floor, wall, moss, rubble"]),
            ),
            argument("size", "Size", "Pixels of a side", Completes::Words(&["256", "512", "1024"])),
            LOOK,
            MODEL,
            SAVE_TO,
        ],
        plan: tile_set,
    },
];

/// The prompt of this name.
pub(super) fn find(name: &str) -> Option<&'static PromptSpec> {
    PROMPTS.iter().find(|prompt| prompt.name == name)
}

/// What `prompts/list` tells.
pub(super) fn list() -> Vec<Prompt> {
    PROMPTS.iter().map(PromptSpec::listed).collect()
}

impl PromptSpec {
    fn listed(&self) -> Prompt {
        let arguments = self.arguments.iter().map(|argument| {
            PromptArgument::new(argument.name)
                .with_title(argument.title)
                .with_description(argument.description)
                .with_required(argument.required)
        });
        Prompt::new(self.name, Some(self.description), Some(arguments.collect()))
            .with_title(self.title)
    }

    /// `prompts/get`.
    ///
    /// # Errors
    /// Invalid params for an argument that is missing, unknown, too long, or no text.
    pub(super) fn get(&self, arguments: &Map<String, Value>) -> Result<GetPromptResult, ErrorData> {
        let invalid = |message: String| ErrorData::invalid_params(message, None);
        if let Some(unknown) =
            arguments.keys().find(|name| self.arguments.iter().all(|known| known.name != **name))
        {
            let known: Vec<&str> = self.arguments.iter().map(|argument| argument.name).collect();
            return Err(invalid(format!(
                "the prompt `{}` has no argument `{}`; it has: {}",
                self.name,
                clean_line(unknown, 80),
                known.join(", ")
            )));
        }
        let mut given = Vec::new();
        for argument in self.arguments {
            let text = match arguments.get(argument.name) {
                None | Some(Value::Null) => "",
                Some(Value::String(text)) => text.trim(),
                Some(_) => return Err(invalid(format!("`{}` must be text", argument.name))),
            };
            if text.chars().count() > LONGEST {
                return Err(invalid(format!(
                    "`{}` has more than {LONGEST} characters",
                    argument.name
                )));
            }
            match (text, argument.required) {
                ("", true) => {
                    return Err(invalid(format!("`{}` is missing", argument.name)));
                }
                ("", false) => {}
                // One line each: the plan is a list.
                (text, _) => given.push((argument.name, clean_line(text, LONGEST))),
            }
        }
        let plan = (self.plan)(&Given(given));
        Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, plan)])
            .with_description(self.description))
    }
}

/// The arguments of one `prompts/get` that hold something.
struct Given(Vec<(&'static str, String)>);

impl Given {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, text)| text.as_str())
    }

    fn or<'a>(&'a self, name: &str, usual: &'a str) -> &'a str {
        self.get(name).unwrap_or(usual)
    }
}

fn icon_set(given: &Given) -> String {
    let size = given.or("size", "512");
    let count = match given.get("count") {
        Some(count) => format!("Number of icons: {count}"),
        None => "One icon for each thing that the subject names, or 8".to_owned(),
    };
    plan(
        "Make an icon set for my game with the layer tools.",
        given,
        &[
            format!("Subject: {}", given.or("subject", "")),
            count,
            format!("Size: {size} x {size} pixels"),
        ],
        &format!(
            "width {size}, height {size}, transparent true, a prompt that names one icon alone, \
             centred, in the shared look, and save_to FOLDER/NAME.png"
        ),
        "the file of the first icon",
    )
}

fn tile_set(given: &Given) -> String {
    let size = given.or("size", "512");
    plan(
        "Make a set of seamless tiles for my game with the layer tools.",
        given,
        &[
            format!("Theme: {}", given.or("theme", "")),
            format!("Tiles: {}", given.or("tiles", "floor, wall, and two more that fit the theme")),
            format!("Size: {size} x {size} pixels"),
        ],
        &format!(
            "width {size}, height {size}, tileable true, a prompt for one surface seen from straight \
             above, and save_to FOLDER/NAME.png"
        ),
        "the file of the first tile",
    )
}

fn character_turnaround(given: &Given) -> String {
    let reference = given.get("reference");
    let mut facts = vec![format!("Character: {}", given.or("character", ""))];
    facts.extend(reference.map(|path| format!("Picture to go by: {path}")));
    facts.push(format!("Views: {}", given.or("views", "front, three-quarter, side, back")));
    plan(
        "Make a turnaround of one character with the layer tools.",
        given,
        &facts,
        "the same width and height for all, the same words for the character, a plain background, \
         standing straight, one view alone, and save_to FOLDER/NAME-VIEW.png",
        if reference.is_some() {
            "the picture to go by and the file of the first view"
        } else {
            "the file of the first view"
        },
    )
}

fn sound_pack(given: &Given) -> String {
    let seconds = given.or("seconds", "2");
    plan(
        "Make a pack of sound effects for my game with the layer tools.",
        given,
        &[
            format!("Theme: {}", given.or("theme", "")),
            format!("Sounds: {}", given.or("sounds", "four that the theme needs")),
            format!("Length of each: {seconds} seconds"),
        ],
        &format!(
            "use_case sound_effects, duration_seconds {seconds}, a prompt that describes one sound \
             alone, and save_to FOLDER/NAME.wav"
        ),
        "",
    )
}

/// The plan that all prompts share.
fn plan(task: &str, given: &Given, facts: &[String], how: &str, reference: &str) -> String {
    let mut lines = vec![task.to_owned(), String::new()];
    let mut facts = facts.to_vec();
    facts.extend(given.get("style").map(|look| {
        format!(
            "Look: {look} (if list_styles has it as a style_id, give it as `model`; otherwise put \
             the words into every prompt)"
        )
    }));
    facts.extend(given.get("model").map(|model| format!("Model: {model}")));
    facts.push(format!("Folder: {}", given.or("save_to", "one of the project that fits")));
    lines.extend(facts.iter().map(|fact| format!("- {fact}")));
    lines.push(String::new());
    let mut steps = vec![
        "Write the list of pieces with a short file name for each and show it to me.".to_owned(),
        "Price all of them with one quote (its `calls` takes the list), tell me the total and what \
         is available, and wait for my yes."
            .to_owned(),
        format!("Make the first piece with create_asset: {how}."),
    ];
    steps.push(match reference {
        "" => "Tell me where it lies and ask whether it is right before you go on.".to_owned(),
        _ => {
            "Look at it with view_asset. If it is not what I asked for, say so and ask before you \
              buy another; if it is right, go on."
                .to_owned()
        }
    });
    steps.push(match reference {
        "" => "Make the others in the same way, one at a time.".to_owned(),
        what => format!(
            "Make the others in the same way, one at a time, with `references` naming {what}, so \
             that they belong together."
        ),
    });
    steps.push(
        "Where an answer says status running, call get_job until it is complete; never start a \
         piece again. If one fails, redo that one alone."
            .to_owned(),
    );
    steps.push("At the end list the files and what they cost in all.".to_owned());
    lines.extend(steps.iter().zip(1..).map(|(step, number)| format!("{number}. {step}")));
    lines.join("\n")
}
