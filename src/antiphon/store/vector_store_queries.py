"""Every query about vector stores. All see one owner's rows only, but for those of the one worker that indexes."""

from __future__ import annotations

_COUNTS = """
    coalesce(sum(files.status = 'in_progress'), 0), coalesce(sum(files.status = 'completed'), 0),
    coalesce(sum(files.status = 'failed'), 0), coalesce(sum(files.status = 'cancelled'), 0), count(files.number)
"""

_STORES = f"""
SELECT
    stores.vector_store, stores.name, stores.description, stores.metadata, stores.created_at_s,
    stores.last_active_at_s, stores.expires_days, stores.expired_at_s, coalesce(sum(files.usage_bytes), 0), {_COUNTS}
FROM vector_stores AS stores
LEFT JOIN vector_store_files AS files ON files.owner = stores.owner AND files.vector_store = stores.vector_store
"""

# One store, with its size and the counts of its files.
FIND_STORE = (
    _STORES
    + """
WHERE stores.owner = :owner AND stores.vector_store = :vector_store
GROUP BY stores.number
"""
)

# A page of the stores; ``{order}`` is ASC or DESC.
STORE_PAGE = (
    _STORES
    + """
WHERE stores.owner = :owner AND stores.number > :above AND stores.number < :below
GROUP BY stores.number
ORDER BY stores.number {order}
LIMIT :limit
"""
)

# Where a store is in the list.
STORE_POSITION = """
SELECT number FROM vector_stores WHERE owner = :owner AND vector_store = :cursor
"""

# A new store.
INSERT_STORE = """
INSERT INTO vector_stores (
    owner, vector_store, name, description, metadata, created_at_s, last_active_at_s, expires_days
)
VALUES (:owner, :vector_store, :name, :description, :metadata, :now_s, :now_s, :expires_days)
"""

# What the client changes of a store.
UPDATE_STORE = """
UPDATE vector_stores SET name = :name, metadata = :metadata, expires_days = :expires_days
WHERE owner = :owner AND vector_store = :vector_store
"""

# A store is used: its time begins anew.
USE_STORE = """
UPDATE vector_stores SET last_active_at_s = :now_s
WHERE owner = :owner AND vector_store = :vector_store
"""

# A store is gone; its batches and its files' places go by cascade.
DELETE_STORE = """
DELETE FROM vector_stores WHERE owner = :owner AND vector_store = :vector_store
"""

# Changes that an index has to follow, of a store that is gone with its index.
DELETE_CHANGES = """
DELETE FROM index_changes WHERE owner = :owner AND vector_store = :vector_store
"""

# Which of these files are not there.
MISSING_FILES = """
SELECT value
FROM json_each(:files)
WHERE NOT EXISTS (
    SELECT 1 FROM files
    WHERE owner = :owner AND file = value AND (expires_at_s IS NULL OR expires_at_s > :now_s)
)
"""

# A file in a store, which waits to be indexed; one that was there is there anew.
INSERT_STORE_FILE = """
INSERT OR REPLACE INTO vector_store_files (
    owner, vector_store, file, batch, status, chunking, attributes, created_at_s
)
VALUES (:owner, :vector_store, :file, :batch, 'in_progress', :chunking, :attributes, :now_s)
"""

_STORE_FILE = "file, status, error, chunking, attributes, usage_bytes, created_at_s"

# One file of a store.
FIND_STORE_FILE = f"""
SELECT {_STORE_FILE}
FROM vector_store_files
WHERE owner = :owner AND vector_store = :vector_store AND file = :file
"""

# A page of the files of a store, of one batch, of one status; ``{order}`` is ASC or DESC.
STORE_FILE_PAGE = (
    f"SELECT {_STORE_FILE}"
    + """
FROM vector_store_files
WHERE owner = :owner AND vector_store = :vector_store AND number > :above AND number < :below
    AND (:batch IS NULL OR batch = :batch) AND (:status IS NULL OR status = :status)
ORDER BY number {order}
LIMIT :limit
"""
)

# Where a file is in a store.
STORE_FILE_POSITION = """
SELECT number FROM vector_store_files WHERE owner = :owner AND vector_store = :vector_store AND file = :cursor
"""

# What the client notes about a file in a store.
SET_ATTRIBUTES = """
UPDATE vector_store_files SET attributes = :attributes
WHERE owner = :owner AND vector_store = :vector_store AND file = :file
"""

# A file is taken out of a store.
DELETE_STORE_FILE = """
DELETE FROM vector_store_files WHERE owner = :owner AND vector_store = :vector_store AND file = :file
"""

# The index of a store has to follow what became of a file.
INSERT_CHANGE = """
INSERT INTO index_changes (owner, vector_store, file) VALUES (:owner, :vector_store, :file)
"""

# The same of all stores that a file is in.
INSERT_CHANGES_OF_FILE = """
INSERT INTO index_changes (owner, vector_store, file)
SELECT owner, vector_store, file FROM vector_store_files WHERE owner = :owner AND file = :file
ORDER BY number
"""

# Of these files, those that are in a store and may be shown.
SEARCHABLE = """
SELECT placed.file, files.filename, placed.attributes
FROM vector_store_files AS placed JOIN files USING (owner, file)
WHERE placed.owner = :owner AND placed.vector_store = :vector_store
    AND placed.status IN ('completed', 'in_progress')
    AND placed.file IN (SELECT value FROM json_each(:files))
    AND (files.expires_at_s IS NULL OR files.expires_at_s > :now_s)
"""

# A batch of files.
INSERT_BATCH = """
INSERT INTO file_batches (owner, batch, vector_store, created_at_s)
VALUES (:owner, :batch, :vector_store, :now_s)
"""

# One batch, with the counts of its files.
FIND_BATCH = f"""
SELECT batches.created_at_s, batches.cancelled_at_s, {_COUNTS}
FROM file_batches AS batches
LEFT JOIN vector_store_files AS files ON files.owner = batches.owner AND files.batch = batches.batch
WHERE batches.owner = :owner AND batches.vector_store = :vector_store AND batches.batch = :batch
GROUP BY batches.batch
"""

# A batch is given up.
CANCEL_BATCH = """
UPDATE file_batches SET cancelled_at_s = coalesce(cancelled_at_s, :now_s)
WHERE owner = :owner AND batch = :batch
"""

# What indexes have to follow then: of these files, one may be at work.
INSERT_CHANGES_OF_BATCH = """
INSERT INTO index_changes (owner, vector_store, file)
SELECT owner, vector_store, file FROM vector_store_files
WHERE owner = :owner AND batch = :batch AND status = 'in_progress'
ORDER BY number
"""

# Its files that are not indexed yet never will be.
CANCEL_FILES = """
UPDATE vector_store_files SET status = 'cancelled', is_claimed = 0
WHERE owner = :owner AND batch = :batch AND status = 'in_progress'
"""

# --- the worker ------------------------------------------------------------------------------

# Nobody works at anything. Of all owners.
RELEASE = """
UPDATE vector_store_files SET is_claimed = 0 WHERE status = 'in_progress' AND is_claimed = 1
"""

# Whose files wait, each with the first of them. Of all owners.
WAITING = """
SELECT owner, min(number) FROM vector_store_files WHERE status = 'in_progress' AND is_claimed = 0 GROUP BY owner
"""

# At how many files of whom somebody works. Of all owners.
AT_WORK = """
SELECT owner, count(*) FROM vector_store_files WHERE status = 'in_progress' AND is_claimed = 1 GROUP BY owner
"""

# The first file of an owner that waits.
FIRST_WAITING = """
SELECT min(number) FROM vector_store_files WHERE status = 'in_progress' AND is_claimed = 0 AND owner = :owner
"""

# A file at which somebody works.
JOB = """
SELECT
    placed.number, placed.owner, placed.vector_store, placed.file, files.blob, files.filename, files.media_type,
    files.sha256, placed.chunking, placed.attributes, placed.attempts
FROM vector_store_files AS placed JOIN files USING (owner, file)
WHERE placed.number = :number
"""

# Somebody works at a file.
CLAIM = """
UPDATE vector_store_files SET is_claimed = 1, attempts = attempts + 1 WHERE number = :number
"""

# Nobody works at a file any more; it waits as if nobody had.
PUT_BACK = """
UPDATE vector_store_files SET is_claimed = 0, attempts = attempts - 1
WHERE number = :number AND status = 'in_progress' AND is_claimed = 1
"""

# Whether a file is still to be indexed.
IS_WANTED = """
SELECT EXISTS (SELECT 1 FROM vector_store_files WHERE number = :number AND status = 'in_progress')
"""

# A file is indexed, if it still is to be.
COMPLETE = """
UPDATE vector_store_files SET status = 'completed', is_claimed = 0, error = NULL, usage_bytes = :usage_bytes
WHERE number = :number AND status = 'in_progress'
"""

# A file cannot be indexed, if it still is to be.
FAIL = """
UPDATE vector_store_files SET status = 'failed', is_claimed = 0, error = :error, usage_bytes = 0
WHERE number = :number AND status = 'in_progress'
"""

# What was indexed is to be indexed again.
REQUEUE = """
UPDATE vector_store_files SET status = 'in_progress', is_claimed = 0, attempts = 0
WHERE owner = :owner AND vector_store = :vector_store AND status = 'completed'
"""

# What indexes have to follow, in order. Of all owners.
CHANGES = """
SELECT number, owner, vector_store, file FROM index_changes ORDER BY number
"""

# An index has followed.
DELETE_CHANGE = """
DELETE FROM index_changes WHERE number = :number
"""

# All stores. Of all owners.
ALL_STORES = """
SELECT owner, vector_store FROM vector_stores
"""

# Stores whose time has come and that are not emptied yet. Of all owners.
EXPIRED_STORES = """
SELECT owner, vector_store FROM vector_stores
WHERE expired_at_s IS NULL AND last_active_at_s + expires_days * 86400 <= :now_s
"""

# A store whose time has come is emptied.
EXPIRE_STORE = """
UPDATE vector_stores SET expired_at_s = :now_s WHERE owner = :owner AND vector_store = :vector_store
"""
EMPTY_STORE = """
DELETE FROM vector_store_files WHERE owner = :owner AND vector_store = :vector_store
"""
