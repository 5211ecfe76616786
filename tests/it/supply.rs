//! What the program is made of, as `Cargo.lock` pins it.

use std::collections::BTreeSet;
use std::path::Path;

/// A package of `Cargo.lock`.
struct Package {
    name: String,
    version: Vec<u64>,
    source: Option<String>,
    checksum: Option<String>,
}

fn packages() -> Vec<Package> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
    let text = |package: &toml::Value, field: &str| {
        package.get(field).and_then(toml::Value::as_str).map(str::to_owned)
    };
    let packages = lock["package"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let version = text(package, "version").unwrap();
            let numbers = version.split(['-', '+']).next().unwrap();
            Package {
                name: text(package, "name").unwrap(),
                version: numbers.split('.').map(|number| number.parse().unwrap()).collect(),
                source: text(package, "source"),
                checksum: text(package, "checksum"),
            }
        })
        .collect()
}

#[test]
fn every_package_is_pinned_to_one_registry_by_its_checksum() {
    let packages = packages();
    assert!(packages.len() > 100, "{}", packages.len());
    let mut sources = BTreeSet::new();
    for package in &packages {
        if package.name == env!("CARGO_PKG_NAME") {
            assert_eq!(package.source, None);
            continue;
        }
        let source = package.source.as_deref().unwrap_or_default();
        assert!(source.starts_with("registry+https://"), "{}: {source}", package.name);
        sources.insert(source.to_owned());
        let checksum = package.checksum.as_deref().unwrap_or_default();
        assert!(checksum.len() == 64, "{} has no checksum", package.name);
    }
    assert_eq!(sources.len(), 1, "{sources:?}");
}

/// The first versions without holes that are known in what is used here.
#[test]
fn no_package_is_older_than_its_last_known_hole() {
    let packages = packages();
    for (name, least) in [("rmcp", [1, 4, 0]), ("rustls-webpki", [0, 103, 12])] {
        let found: Vec<_> = packages.iter().filter(|package| package.name == name).collect();
        assert!(!found.is_empty(), "{name}");
        for package in found {
            assert!(package.version.as_slice() >= least.as_slice(), "{name} {:?}", package.version);
        }
    }
}

#[test]
fn nothing_brings_a_c_library_for_tls_or_the_bus() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/deny.toml");
    let rules: toml::Table = std::fs::read_to_string(rules).unwrap().parse().unwrap();
    let banned = rules["bans"]["deny"].as_array().unwrap().iter();
    let banned: Vec<_> = banned.map(|rule| rule["crate"].as_str().unwrap()).collect();
    assert!(banned.contains(&"openssl-sys") && banned.contains(&"libdbus-sys"), "{banned:?}");
    for package in packages() {
        assert!(!banned.contains(&package.name.as_str()), "{}", package.name);
    }
}

#[test]
fn no_script_of_ours_runs_when_the_program_is_built() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(!root.join("build.rs").exists());
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    assert!(manifest["package"].get("build").is_none());
    assert!(manifest.get("build-dependencies").is_none());
}
