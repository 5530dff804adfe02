"""Every query of the SQLite store. All of them see one owner's rows only, but for `UNFINISHED_RUNS`."""

from __future__ import annotations

# One run, deleted or not, with what decides whether it may be read, continued or deleted.
FIND_RUN = """
SELECT parent, status, deleted_at_s, conversation, api, forked_from
FROM runs
WHERE owner = :owner AND run = :run
"""

# A run that has just begun; arrives last.
INSERT_RUN = """
INSERT INTO runs (
    owner, run, parent, status, created_at_s, conversation, conversation_end, api, model, metadata
)
VALUES (
    :owner, :run, :parent, 'in_progress', :created_at_s, :conversation, :conversation_end, :api, :model, :metadata
)
"""

# A run that begins as another did, :source; arrives last.
INSERT_FORK = """
INSERT INTO runs (
    owner, run, forked_from, parent, status, created_at_s, conversation, conversation_end, api, model, metadata
)
SELECT
    owner, :run, :source, parent, 'in_progress', :created_at_s, conversation, conversation_end, api, :model, metadata
FROM runs
WHERE owner = :owner AND run = :source
"""

# The input of a run, for its fork.
COPY_INPUT = """
INSERT INTO items (owner, run, direction, position, item_id, type, data)
SELECT owner, :run, direction, position, item_id, type, data
FROM items
WHERE owner = :owner AND run = :source AND direction = 'input'
ORDER BY position
"""

# A run has ended; its status is final.
FINISH_RUN = """
UPDATE runs SET status = :status, finished_at_s = :finished_at_s
WHERE owner = :owner AND run = :run
"""

# What the client has written on a run.
METADATA = """
SELECT metadata
FROM runs
WHERE owner = :owner AND run = :run
"""

# The client writes something else on it.
SET_METADATA = """
UPDATE runs SET metadata = :metadata
WHERE owner = :owner AND run = :run
"""

# Chat completions that came to an end, and are not deleted: those beyond the run :after, of the model :model, with all
# of the metadata :metadata. What is null does not count.
_CHATS = """
SELECT run, metadata
FROM runs
WHERE owner = :owner AND api = 'chat' AND deleted_at_s IS NULL AND status IN ('completed', 'incomplete')
    AND (:after IS NULL OR number {beyond} (SELECT number FROM runs WHERE owner = :owner AND run = :after))
    AND (:model IS NULL OR model = :model)
    AND NOT EXISTS (
        SELECT 1 FROM json_each(:metadata) AS wanted
        WHERE NOT EXISTS (
            SELECT 1 FROM json_each(runs.metadata) AS had WHERE had.key = wanted.key AND had.value = wanted.value
        )
    )
ORDER BY number {order}
LIMIT :limit
"""
CHATS_OLDEST_FIRST = _CHATS.format(beyond=">", order="ASC")
CHATS_NEWEST_FIRST = _CHATS.format(beyond="<", order="DESC")

# Nobody may see the run again; its items may still be part of another's history.
MARK_RUN_DELETED = """
UPDATE runs SET deleted_at_s = :deleted_at_s
WHERE owner = :owner AND run = :run
"""

# Whether any run, deleted or not, was continued from this one.
HAS_CHILDREN = """
SELECT EXISTS (SELECT 1 FROM runs WHERE owner = :owner AND parent = :run)
"""

# A run with all that belongs to it: items and segments go by cascade.
DELETE_RUN = """
DELETE FROM runs
WHERE owner = :owner AND run = :run
"""

# What a restart has to settle. Of all owners, oldest first.
UNFINISHED_RUNS = """
SELECT owner, run, api
FROM runs
WHERE status = 'in_progress'
ORDER BY number
"""

# One item of a run's input or output.
INSERT_ITEM = """
INSERT INTO items (owner, run, direction, position, item_id, type, data)
VALUES (:owner, :run, :direction, :position, :item_id, :type, :data)
"""

# The items of a deleted run that no conversation shows.
DELETE_UNSEEN_ITEMS = """
DELETE FROM items
WHERE owner = :owner AND run = :run
    AND NOT EXISTS (SELECT 1 FROM conversation_items WHERE conversation_items.item = items.number)
"""

# Whether a run still has items.
HAS_ITEMS = """
SELECT EXISTS (SELECT 1 FROM items WHERE owner = :owner AND run = :run)
"""

# The items of a run and of all its ancestors, deleted ones included: root first; of each run what its conversation held
# when it began, then its input, then its output. CROSS JOIN keeps SQLite from walking all items of the owner.
HISTORY = """
WITH RECURSIVE chain (run, parent, status, conversation, conversation_end, distance) AS (
    SELECT run, parent, status, conversation, conversation_end, 0
    FROM runs
    WHERE owner = :owner AND run = :run
    UNION ALL
    SELECT runs.run, runs.parent, runs.status, runs.conversation, runs.conversation_end, chain.distance + 1
    FROM chain CROSS JOIN runs ON runs.owner = :owner AND runs.run = chain.parent
)
SELECT
    makers.status, items.direction, items.type, items.data,
    chain.distance AS distance, 0 AS place, listed.position AS position
FROM chain
CROSS JOIN conversation_items AS listed ON listed.owner = :owner AND listed.conversation = chain.conversation
    AND listed.position < chain.conversation_end
CROSS JOIN items ON items.number = listed.item
LEFT JOIN runs AS makers ON makers.owner = :owner AND makers.run = items.run
UNION ALL
SELECT
    chain.status, items.direction, items.type, items.data,
    chain.distance, CASE items.direction WHEN 'input' THEN 1 ELSE 2 END, items.position
FROM chain CROSS JOIN items ON items.owner = :owner AND items.run = chain.run
ORDER BY distance DESC, place, position
"""

# Items by their ids, oldest first, wherever they are still to be seen.
ITEMS_BY_ID = """
SELECT runs.status, items.direction, items.type, items.data, items.item_id
FROM items LEFT JOIN runs ON runs.owner = items.owner AND runs.run = items.run
WHERE items.owner = :owner AND items.item_id IN (SELECT value FROM json_each(:item_ids))
    AND (
        items.run IS NULL
        OR runs.deleted_at_s IS NULL
        OR EXISTS (SELECT 1 FROM conversation_items WHERE conversation_items.item = items.number)
    )
ORDER BY items.number
"""

# A page of a run's input; ``{order}`` is ASC or DESC.
INPUT_PAGE = """
SELECT data
FROM items
WHERE owner = :owner AND run = :run AND direction = 'input' AND position > :above AND position < :below
ORDER BY position {order}
LIMIT :limit
"""

# Where an item is in a run's input.
INPUT_POSITION = """
SELECT position
FROM items
WHERE owner = :owner AND run = :run AND direction = 'input' AND item_id = :cursor
"""

# The next segment of a run: it begins after the last one, or at 0.
APPEND_SEGMENT = """
INSERT INTO segments (owner, run, first_seq, last_seq, blob)
SELECT :owner, :run, coalesce(max(last_seq) + 1, 0), coalesce(max(last_seq) + 1, 0) + :count - 1, :blob
FROM segments
WHERE owner = :owner AND run = :run
"""

# The journal of a run, in order.
SEGMENTS = """
SELECT last_seq, blob
FROM segments
WHERE owner = :owner AND run = :run
ORDER BY first_seq
"""

# The segments of a run that begin at an event or after it, in order, with how many events each has.
SEGMENTS_FROM = """
SELECT last_seq - first_seq + 1, blob
FROM segments
WHERE owner = :owner AND run = :run AND first_seq >= :seq
ORDER BY first_seq
"""

# The same segments: they are being merged.
DELETE_SEGMENTS_FROM = """
DELETE FROM segments
WHERE owner = :owner AND run = :run AND first_seq >= :seq
"""

# All segments of a run: it is deleted, or they are being merged.
DELETE_SEGMENTS = """
DELETE FROM segments
WHERE owner = :owner AND run = :run
"""

# One conversation.
FIND_CONVERSATION = """
SELECT created_at_s, metadata, next_position
FROM conversations
WHERE owner = :owner AND conversation = :conversation
"""

# A new conversation, without items.
INSERT_CONVERSATION = """
INSERT INTO conversations (owner, conversation, metadata, created_at_s)
VALUES (:owner, :conversation, :metadata, :created_at_s)
"""

# What a client notes about a conversation.
UPDATE_CONVERSATION = """
UPDATE conversations SET metadata = :metadata
WHERE owner = :owner AND conversation = :conversation
"""

# A conversation with its references and with the items that are its own; they go by cascade.
DELETE_CONVERSATION = """
DELETE FROM conversations
WHERE owner = :owner AND conversation = :conversation
"""

# Positions are taken: the next item comes after them.
TAKE_POSITIONS = """
UPDATE conversations SET next_position = next_position + :count
WHERE owner = :owner AND conversation = :conversation
"""

# An item of the conversation's own.
INSERT_OWN_ITEM = """
INSERT INTO items (owner, conversation, item_id, type, data)
VALUES (:owner, :conversation, :item_id, :type, :data)
"""

# A reference to the item that was inserted last.
REFER_TO_OWN_ITEM = """
INSERT INTO conversation_items (owner, conversation, position, item_id, item)
VALUES (:owner, :conversation, :position, :item_id, :item)
"""

# References to all items of a run, its input before its output. An id that the conversation has stays what it was; only
# a client that made up the id of an output item sees that.
REFER_TO_RUN = """
INSERT INTO conversation_items (owner, conversation, position, item_id, item)
SELECT
    :owner, :conversation,
    :first + row_number() OVER (ORDER BY direction, position) - 1,
    coalesce(item_id, 'item_' || number), number
FROM items
WHERE owner = :owner AND run = :run
ON CONFLICT (owner, conversation, item_id) DO NOTHING
"""

# How many items a run has.
COUNT_ITEMS = """
SELECT count(*) FROM items WHERE owner = :owner AND run = :run
"""

# Which of these ids the conversation has, or will have when the runs that are going in it end.
TAKEN_IDS = """
SELECT item_id
FROM conversation_items
WHERE owner = :owner AND conversation = :conversation AND item_id IN (SELECT value FROM json_each(:item_ids))
UNION ALL
SELECT items.item_id
FROM runs JOIN items ON items.owner = runs.owner AND items.run = runs.run
WHERE runs.owner = :owner AND runs.conversation = :conversation AND runs.status = 'in_progress'
    AND runs.forked_from IS NULL AND items.item_id IN (SELECT value FROM json_each(:item_ids))
"""

# What the conversation holds, in order.
CONVERSATION_HISTORY = """
SELECT runs.status, items.direction, items.type, items.data
FROM conversation_items AS listed
CROSS JOIN items ON items.number = listed.item
LEFT JOIN runs ON runs.owner = items.owner AND runs.run = items.run
WHERE listed.owner = :owner AND listed.conversation = :conversation
ORDER BY listed.position
"""

# A page of what it holds; ``{order}`` is ASC or DESC.
CONVERSATION_PAGE = """
SELECT items.data
FROM conversation_items AS listed CROSS JOIN items ON items.number = listed.item
WHERE listed.owner = :owner AND listed.conversation = :conversation
    AND listed.position > :above AND listed.position < :below
ORDER BY listed.position {order}
LIMIT :limit
"""

# Where an item is in the conversation.
CONVERSATION_POSITION = """
SELECT position
FROM conversation_items
WHERE owner = :owner AND conversation = :conversation AND item_id = :cursor
"""

# One item of the conversation, and the run that made it, if one did.
FIND_CONVERSATION_ITEM = """
SELECT items.number, items.run, items.data
FROM conversation_items AS listed CROSS JOIN items ON items.number = listed.item
WHERE listed.owner = :owner AND listed.conversation = :conversation AND listed.item_id = :item_id
"""

# The conversation shows the item no more.
DELETE_REFERENCE = """
DELETE FROM conversation_items
WHERE owner = :owner AND conversation = :conversation AND item_id = :item_id
"""

# An item of the conversation's own is gone.
DELETE_OWN_ITEM = """
DELETE FROM items
WHERE owner = :owner AND conversation = :conversation AND number = :number
"""

# Deleted runs whose items the conversation may be the last to show.
DELETED_RUNS_OF_CONVERSATION = """
SELECT run
FROM runs
WHERE owner = :owner AND conversation = :conversation AND deleted_at_s IS NOT NULL
"""
