CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at_s INTEGER NOT NULL);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,  -- order of arrival
    owner TEXT NOT NULL,
    run TEXT NOT NULL,
    parent TEXT,
    status TEXT NOT NULL,  -- in_progress, or what its run.finished says
    created_at_s INTEGER NOT NULL,
    finished_at_s INTEGER,
    deleted_at_s INTEGER, conversation TEXT, conversation_end INTEGER, api TEXT NOT NULL DEFAULT 'responses', model TEXT, metadata TEXT NOT NULL DEFAULT '{}',
    UNIQUE (owner, run),
    FOREIGN KEY (owner, parent) REFERENCES runs (owner, run)
);
CREATE INDEX runs_by_parent ON runs (owner, parent) WHERE parent IS NOT NULL;
CREATE INDEX runs_unfinished ON runs (number) WHERE status = 'in_progress';
CREATE TABLE segments (
    owner TEXT NOT NULL,
    run TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL CHECK (last_seq >= first_seq),
    blob BLOB NOT NULL,
    PRIMARY KEY (owner, run, first_seq),
    FOREIGN KEY (owner, run) REFERENCES runs (owner, run) ON DELETE CASCADE
);
CREATE TABLE conversations (
    owner TEXT NOT NULL,
    conversation TEXT NOT NULL,
    metadata TEXT NOT NULL,  -- as JSON
    created_at_s INTEGER NOT NULL,
    next_position INTEGER NOT NULL DEFAULT 0,  -- a position is never given twice
    PRIMARY KEY (owner, conversation)
);
CREATE TABLE items (
    number INTEGER PRIMARY KEY,  -- order of arrival
    owner TEXT NOT NULL,
    run TEXT,
    direction TEXT CHECK (direction IN ('input', 'output')),
    position INTEGER,
    conversation TEXT CHECK ((conversation IS NULL) <> (run IS NULL)),
    item_id TEXT,
    type TEXT,
    data TEXT NOT NULL,  -- the item, as JSON
    UNIQUE (owner, run, direction, position),
    FOREIGN KEY (owner, run) REFERENCES runs (owner, run) ON DELETE CASCADE,
    FOREIGN KEY (owner, conversation) REFERENCES conversations (owner, conversation) ON DELETE CASCADE
);
CREATE INDEX items_by_id ON items (owner, item_id);
CREATE INDEX items_by_conversation ON items (owner, conversation) WHERE conversation IS NOT NULL;
CREATE TABLE conversation_items (
    owner TEXT NOT NULL,
    conversation TEXT NOT NULL,
    position INTEGER NOT NULL,
    item_id TEXT NOT NULL,
    item INTEGER NOT NULL REFERENCES items (number) ON DELETE CASCADE,
    PRIMARY KEY (owner, conversation, position),
    UNIQUE (owner, conversation, item_id),
    FOREIGN KEY (owner, conversation) REFERENCES conversations (owner, conversation) ON DELETE CASCADE
);
CREATE INDEX conversation_items_by_item ON conversation_items (item);
CREATE INDEX runs_by_conversation ON runs (owner, conversation) WHERE conversation IS NOT NULL;
CREATE INDEX runs_of_chats ON runs (owner, number) WHERE api = 'chat';
