use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{TEMPLATES, find};

#[test]
fn every_shipped_pipeline_is_a_template() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let shipped: BTreeSet<String> = fs::read_dir(folder).unwrap().map(name).collect();
    let known: BTreeSet<String> = TEMPLATES.iter().map(|template| template.file.to_owned()).collect();
    assert_eq!(shipped, known);
}

#[test]
fn each_has_a_name_a_description_and_a_text_that_names_its_file() {
    for template in TEMPLATES {
        assert_eq!(template.name().replace('_', "-") + ".yaml", template.file);
        assert!(template.description().ends_with('.'), "{}", template.file);
        assert_eq!(find(template.name()).unwrap().file, template.file);
        let text = template.text("mine.yaml");
        assert!(!text.contains("language-server") && !text.contains("pipelines/"), "{text}");
        assert!(text.starts_with("# ") && text.contains("tl ") && text.contains(" mine.yaml"), "{text}");
        // What each says of the key and of the way back.
        for words in ["tl key new -o identity.txt", "age -d -i identity.txt", "recipients-file: recipients.txt"] {
            assert!(text.contains(words), "{}: {words}", template.file);
        }
    }
}
