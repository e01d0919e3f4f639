//! `tl migrate`, as long as version 1 is the newest; what steps do is tested where they are.
use crate::support::Tl;

const NOW: &str = "version: 1\nname: test\nstages: { a: { run: ['true'] } }\n";

#[test]
fn the_newest_version_is_left_as_it_is() {
    let tl = Tl::new();
    tl.write("a.yaml", NOW).write("b.yaml", NOW);
    let said = "a.yaml: version 1 is the newest; nothing to do\nb.yaml: version 1 is the newest; nothing to do\n";
    for more in [&[][..], &["--check"], &["--yes"], &["--to", "1"]] {
        let ended = tl.ok(&[&["migrate", "a.yaml", "b.yaml"], more].concat());
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (said, ""));
    }
    assert_eq!(tl.read("a.yaml"), NOW);
    assert!(!tl.file("state").exists());
}

#[test]
fn what_is_no_version_that_tl_knows_is_refused() {
    let tl = Tl::new();
    tl.write("now.yaml", NOW).write("later.yaml", NOW.replace('1', "2")).write("early.yaml", NOW.replace('1', "0"));
    insta::assert_snapshot!("later", tl.run(&["migrate", "now.yaml", "later.yaml"]).shown(&tl));
    insta::assert_snapshot!("unreachable", tl.run(&["migrate", "now.yaml", "--to", "2"]).shown(&tl));
    for (arguments, code) in [
        (&["early.yaml"][..], "TL0101"),
        (&["now.yaml", "--to", "0"], "TL0746"),
        (&["absent.yaml"], "TL0001"),
        (&["later.yaml", "--check"], "TL0102"),
    ] {
        let ended = tl.run(&[&["migrate"], arguments].concat());
        assert!(ended.code == 2 && ended.stderr.contains(code), "{arguments:?}: {ended:?}");
    }
    for wrong in [&["migrate"][..], &["migrate", "now.yaml", "--check", "--yes"], &["migrate", "now.yaml", "--to", "x"]]
    {
        assert_eq!(tl.run(wrong).code, 2);
    }
}
