"""Every query about files and uploads. All see one owner's rows only, but for those that keep the house."""

from __future__ import annotations

_FILE = "file, filename, media_type, purpose, bytes, sha256, blob, created_at_s, expires_at_s"

# A file that has just come; arrives last.
INSERT_FILE = """
INSERT INTO files (owner, file, filename, media_type, purpose, bytes, sha256, blob, created_at_s, expires_at_s)
VALUES (:owner, :file, :filename, :media_type, :purpose, :bytes, :sha256, :blob, :created_at_s, :expires_at_s)
"""

# One file that has not expired.
FIND_FILE = f"""
SELECT {_FILE}
FROM files
WHERE owner = :owner AND file = :file AND (expires_at_s IS NULL OR expires_at_s > :now_s)
"""

# A page of the files that have not expired; ``{order}`` is ASC or DESC.
FILE_PAGE = (
    f"SELECT {_FILE}"
    + """
FROM files
WHERE owner = :owner AND number > :above AND number < :below
    AND (:purpose IS NULL OR purpose = :purpose) AND (expires_at_s IS NULL OR expires_at_s > :now_s)
ORDER BY number {order}
LIMIT :limit
"""
)

# Where a file is in the list.
FILE_POSITION = """
SELECT number FROM files WHERE owner = :owner AND file = :cursor
"""

# One file with its bytes' place, expired or not.
BLOB_OF_FILE = """
SELECT blob FROM files WHERE owner = :owner AND file = :file
"""

# A file is gone; its places in vector stores go by cascade.
DELETE_FILE = """
DELETE FROM files WHERE owner = :owner AND file = :file
"""

# The vector stores that a file is in.
STORES_OF_FILE = """
SELECT vector_store FROM vector_store_files WHERE owner = :owner AND file = :file ORDER BY number
"""

# How large everything of an owner is together.
USED_BYTES = """
SELECT
    coalesce((SELECT sum(bytes) FROM files WHERE owner = :owner), 0)
    + coalesce((SELECT sum(bytes) FROM upload_parts WHERE owner = :owner), 0)
"""

# Files whose time has come. Of all owners.
EXPIRED_FILES = """
SELECT owner, file FROM files WHERE expires_at_s <= :now_s ORDER BY expires_at_s
"""

# Blobs that belong to something. Of all owners.
BLOBS = """
SELECT blob FROM files UNION ALL SELECT blob FROM upload_parts
"""

# An upload that waits for its parts.
INSERT_UPLOAD = """
INSERT INTO uploads (owner, upload, request, status, created_at_s, expires_at_s)
VALUES (:owner, :upload, :request, 'pending', :created_at_s, :expires_at_s)
"""

# One upload.
FIND_UPLOAD = """
SELECT request, status, created_at_s, expires_at_s, file
FROM uploads
WHERE owner = :owner AND upload = :upload
"""

# An upload has ended, with a file or without.
END_UPLOAD = """
UPDATE uploads SET status = :status, file = :file
WHERE owner = :owner AND upload = :upload
"""

# A part of an upload.
INSERT_PART = """
INSERT INTO upload_parts (owner, upload, part, bytes, blob, created_at_s)
VALUES (:owner, :upload, :part, :bytes, :blob, :created_at_s)
"""

# The parts of an upload, in order of arrival.
PARTS = """
SELECT part, bytes, blob, created_at_s
FROM upload_parts
WHERE owner = :owner AND upload = :upload
ORDER BY rowid
"""

# How large the parts of an upload are together.
BYTES_OF_PARTS = """
SELECT coalesce(sum(bytes), 0) FROM upload_parts WHERE owner = :owner AND upload = :upload
"""

# An upload has ended: its parts are of no use.
DELETE_PARTS = """
DELETE FROM upload_parts WHERE owner = :owner AND upload = :upload
"""

# Uploads whose time has come and that still have parts. Of all owners.
EXPIRED_UPLOADS = """
SELECT DISTINCT owner, upload
FROM uploads JOIN upload_parts USING (owner, upload)
WHERE status = 'pending' AND expires_at_s <= :now_s
"""
