//! Changing a picture that is there.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Job, TestEnv, picture, with};

fn hero(env: &TestEnv) -> Vec<u8> {
    let pixels = image::RgbImage::from_fn(96, 64, |x, y| {
        if (24..72).contains(&x) && y > 16 {
            image::Rgb([200, 60, 40])
        } else {
            image::Rgb([255; 3])
        }
    });
    let path = env.project().join("hero.png");
    pixels.save(&path).unwrap();
    fs::read(path).unwrap()
}

fn sent(env: &TestEnv) -> Value {
    let requests = env.requests();
    let start = requests.iter().rfind(|it| it.method == "POST" && it.path.ends_with("/inferences"));
    start.unwrap().body.clone().unwrap()
}

fn facts(job: &Job) -> &Value {
    &job.0["files"][0]
}

#[test]
fn a_subject_is_cut_out_with_real_alpha_and_the_original_stays() {
    let env = TestEnv::new();
    let original = hero(&env);
    let job = env.call("remove_background", &json!({ "image": "hero.png" })).complete();
    assert_eq!(facts(&job)["has_alpha"], true, "{:#}", job.0);
    assert!(job.path().ends_with("assets/hero-cutout.png"), "{:?}", job.path());
    assert_eq!(fs::read(env.project().join("hero.png")).unwrap(), original);
    let body = sent(&env);
    assert_eq!((&body["remove_background"], body.get("prompt")), (&json!(true), None));
    // The same again is the same job; a job is a picture too.
    let again = env.call("remove_background", &json!({ "image": "hero.png" })).complete();
    assert_eq!(again.id(), job.id());
    let made = env.call("create_asset", &picture("a lamp")).complete();
    let _ = env.call("remove_background", &json!({ "image": made.id() })).complete();
    assert_eq!(sent(&env)["guidance_files"].as_array().unwrap().len(), 1);
}

#[test]
fn a_picture_is_refined_in_each_way() {
    let env = TestEnv::new();
    hero(&env);
    let mask =
        image::GrayImage::from_fn(96, 64, |x, _| image::Luma([if x < 48 { 255 } else { 0 }]));
    mask.save(env.project().join("mask.png")).unwrap();
    let image = json!({ "image": "hero.png" });
    let refine = |more: Value| env.call("refine_image", &with(&image, more)).complete();

    let job = refine(json!({ "prompt": "make the armour blue" }));
    assert_eq!(sent(&env)["prompt"], "make the armour blue", "{:#}", job.0);
    let job = refine(json!({ "action": "inpaint", "prompt": "a shield", "mask": "mask.png" }));
    assert!(sent(&env)["mask"]["file_id"].is_string(), "{:#}", job.0);
    let job = refine(json!({ "action": "reframe", "width": 512, "height": 256 }));
    assert_eq!((&facts(&job)["width"], &facts(&job)["height"]), (&json!(512), &json!(256)));
    assert_eq!(sent(&env)["reframe"], true);
    let job = refine(json!({ "action": "upscale", "scale": 4 }));
    assert_eq!((&facts(&job)["width"], &facts(&job)["height"]), (&json!(384), &json!(256)));
    let job = refine(json!({ "action": "vectorize" }));
    assert_eq!(facts(&job)["media_type"], "image/svg+xml", "{:#}", job.0);
    assert_eq!(env.starts(), 5);
    let job = refine(json!({ "action": "outpaint", "width": 640, "height": 256 }));
    assert_eq!((&facts(&job)["width"], &sent(&env)["reframe"]), (&json!(640), &json!(true)));
    let job = refine(json!({ "action": "remove_objects", "prompt": "the lamp" }));
    let prompt = sent(&env)["prompt"].as_str().unwrap().to_owned();
    assert!(prompt.starts_with("Remove the lamp. "), "{prompt}: {:#}", job.0);
    let _ = refine(json!({ "action": "remove_objects", "prompt": "the lamp", "mask": "mask.png" }));
    assert!(sent(&env)["mask"]["file_id"].is_string());
}

#[test]
fn one_picture_is_not_a_pattern_of_several() {
    let env = TestEnv::new();
    hero(&env);
    fs::copy(env.project().join("hero.png"), env.project().join("other.png")).unwrap();
    let several = json!({ "image": "*.png" });
    let _ =
        env.call("remove_background", &several).error("file_not_found").says("not_charged", false);
    let inputs = json!({ "image": "*.png" });
    let call = json!({ "workflow": "Clean cut-out", "inputs": inputs });
    let problem = env.call("run_workflow", &call).error("invalid_argument");
    assert!(problem.message().contains("one file; these are 2"), "{}", problem.message());
    assert_eq!(env.requests().iter().filter(|it| it.method == "POST").count(), 0);
}

#[test]
fn what_does_not_fit_the_action_is_said_before_anything_is_sent() {
    let env = TestEnv::new();
    hero(&env);
    fs::write(env.project().join("tone.wav"), b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\x88X\x01\0\x02\0\x10\0data\0\0\0\0").unwrap();
    for (more, field) in [
        (json!({}), "prompt"),
        (json!({ "action": "inpaint", "prompt": "a shield" }), "mask"),
        (json!({ "action": "inpaint", "mask": "hero.png" }), "prompt"),
        (json!({ "action": "reframe", "width": 512 }), "height"),
        (json!({ "action": "outpaint", "height": 512 }), "width"),
        (json!({ "action": "remove_objects" }), "prompt"),
        (json!({ "action": "upscale", "prompt": "sharper" }), "prompt"),
        (json!({ "action": "upscale", "scale": 9 }), "scale"),
        (json!({ "action": "vectorize", "width": 5 }), "width"),
        (json!({ "action": "edit", "prompt": "x", "scale": 2 }), "scale"),
        (json!({ "action": "inpaint", "prompt": "x", "mask": "tone.wav" }), "mask"),
        (json!({ "action": "explode", "prompt": "x" }), "action"),
    ] {
        let call = with(&json!({ "image": "hero.png" }), more.clone());
        let error = env.call("refine_image", &call).error("invalid_argument");
        assert!(error.message().contains(field), "{more}: {}", error.message());
    }
    let none = json!({ "image": "none.png" });
    let _ = env.call("remove_background", &none).error("file_not_found");
    assert_eq!(env.requests().iter().filter(|it| it.method == "POST").count(), 0);
}
