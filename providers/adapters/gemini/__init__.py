"""Google's generateContent, the native dialect of Gemini."""
