CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at_s INTEGER NOT NULL);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,  -- order of arrival
    owner TEXT NOT NULL,
    run TEXT NOT NULL,
    parent TEXT,
    status TEXT NOT NULL,  -- in_progress, or what its run.finished says
    created_at_s INTEGER NOT NULL,
    finished_at_s INTEGER,
    deleted_at_s INTEGER, conversation TEXT, conversation_end INTEGER, api TEXT NOT NULL DEFAULT 'responses', model TEXT, metadata TEXT NOT NULL DEFAULT '{}', forked_from TEXT,
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
CREATE TABLE files (
    number INTEGER PRIMARY KEY,  -- order of arrival
    owner TEXT NOT NULL,
    file TEXT NOT NULL,
    filename TEXT NOT NULL,
    media_type TEXT NOT NULL,
    purpose TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    blob TEXT NOT NULL,
    created_at_s INTEGER NOT NULL,
    expires_at_s INTEGER,
    UNIQUE (owner, file)
);
CREATE INDEX files_by_expiry ON files (expires_at_s) WHERE expires_at_s IS NOT NULL;
CREATE TABLE uploads (
    number INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    upload TEXT NOT NULL,
    request TEXT NOT NULL,  -- as JSON
    status TEXT NOT NULL,  -- pending, completed or cancelled; expired goes by the time
    created_at_s INTEGER NOT NULL,
    expires_at_s INTEGER NOT NULL,
    file TEXT,  -- as it was when it was completed, as JSON: the file itself may be deleted
    UNIQUE (owner, upload)
);
CREATE TABLE upload_parts (
    owner TEXT NOT NULL,
    upload TEXT NOT NULL,
    part TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    blob TEXT NOT NULL,
    created_at_s INTEGER NOT NULL,
    PRIMARY KEY (owner, upload, part),
    FOREIGN KEY (owner, upload) REFERENCES uploads (owner, upload) ON DELETE CASCADE
);
CREATE TABLE vector_stores (
    number INTEGER PRIMARY KEY,  -- order of arrival
    owner TEXT NOT NULL,
    vector_store TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    metadata TEXT NOT NULL,  -- as JSON
    created_at_s INTEGER NOT NULL,
    last_active_at_s INTEGER NOT NULL,
    expires_days INTEGER,
    expired_at_s INTEGER,  -- when it was emptied
    UNIQUE (owner, vector_store)
);
CREATE TABLE file_batches (
    owner TEXT NOT NULL,
    batch TEXT NOT NULL,
    vector_store TEXT NOT NULL,
    created_at_s INTEGER NOT NULL,
    cancelled_at_s INTEGER,
    PRIMARY KEY (owner, batch),
    FOREIGN KEY (owner, vector_store) REFERENCES vector_stores (owner, vector_store) ON DELETE CASCADE
);
CREATE INDEX file_batches_by_store ON file_batches (owner, vector_store);
CREATE TABLE vector_store_files (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    vector_store TEXT NOT NULL,
    file TEXT NOT NULL,
    batch TEXT,
    status TEXT NOT NULL,  -- in_progress, completed, failed or cancelled
    is_claimed INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT,  -- as JSON
    chunking TEXT NOT NULL,  -- as JSON
    attributes TEXT NOT NULL,  -- as JSON
    usage_bytes INTEGER NOT NULL DEFAULT 0,
    created_at_s INTEGER NOT NULL,
    UNIQUE (owner, vector_store, file),
    FOREIGN KEY (owner, vector_store) REFERENCES vector_stores (owner, vector_store) ON DELETE CASCADE,
    FOREIGN KEY (owner, file) REFERENCES files (owner, file) ON DELETE CASCADE
);
CREATE TABLE sqlite_sequence(name,seq);
CREATE INDEX vector_store_files_by_file ON vector_store_files (owner, file);
CREATE INDEX vector_store_files_by_batch ON vector_store_files (owner, batch);
CREATE INDEX vector_store_files_to_do ON vector_store_files (is_claimed, owner, number)
WHERE status = 'in_progress';
CREATE TABLE index_changes (
    number INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    vector_store TEXT NOT NULL,
    file TEXT NOT NULL
);
