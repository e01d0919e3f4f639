# `just` lists these; `just ci` is what CI runs.

_default:
    @just --list

# Everything that must hold before a change goes in
ci:
    .ci/run

# Formatting
fmt:
    cargo fmt

# Spelling
spelling:
    typos

# Lints, as CI has them
lint:
    cargo clippy --all-targets --features peers,test-kinds -- -D warnings

# Tests that need nothing but this repository
test *filter:
    cargo test {{ filter }}

# Tests against other programs: age acl attr zstd tar
peers *filter:
    cargo test --features peers,test-kinds {{ filter }}

# Licences, bans and sources of dependencies
deny:
    cargo deny check bans licenses sources

# Speed against `age`, which must be in PATH
bench:
    cargo bench --bench speed

# Documentation, private items too
docs:
    RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --document-private-items

# Writes the published schemas anew; CI fails where they differ
schemas:
    cargo run -q -- schema > schemas/pipeline.v1.schema.json
    cargo run -q -- schema --event > schemas/event.v1.schema.json
    cargo run -q -- schema --audit > schemas/audit.v1.schema.json
