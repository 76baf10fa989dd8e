"""De-identification: headers by PS3.15 Annex E, in the same pass as transcoding, keyed so that references between instances hold."""
